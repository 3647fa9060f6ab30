//! The end, and random numbers.

use hermit_abi::errno::EINVAL;
use skete_kernel::boot::status;
use skete_kernel::{arch, random};

use crate::errno::{count, fail};
use crate::pointers;

#[unsafe(no_mangle)]
extern "C" fn sys_exit(status: i32) -> ! {
    arch::power::end(status)
}

#[unsafe(no_mangle)]
extern "C" fn sys_abort() -> ! {
    arch::power::end(status::ABORT)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_read_entropy(buffer: *mut u8, length: usize, flags: u32) -> isize {
    if flags != 0 {
        return fail(EINVAL) as isize;
    }
    // SAFETY: the caller passes a buffer.
    count(
        unsafe { pointers::buffer(buffer, length) }.and_then(|buffer| {
            random::fill(buffer)?;
            Ok(length)
        }),
    )
}
