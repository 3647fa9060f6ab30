//! The end, and random numbers.

use hermit_abi::errno::EINVAL;
use skete_kernel::boot::{self, status};
use skete_kernel::{arch, random};

use crate::errno::{self, count, fail};
use crate::pointers;

#[unsafe(no_mangle)]
extern "C" fn sys_exit(status: i32) -> ! {
    boot::exit(status)
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
    count(unsafe { pointers::buffer(buffer, length) }.and_then(|buffer| {
        random::fill(buffer)?;
        Ok(length)
    }))
}

/// The crate `getrandom` takes single numbers by this and the next function, which hermit-abi lacks.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_secure_rand32(value: *mut u32) -> i32 {
    // SAFETY: the caller passes the place of a number.
    unsafe { number(value.cast(), size_of::<u32>()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_secure_rand64(value: *mut u64) -> i32 {
    // SAFETY: the caller passes the place of a number.
    unsafe { number(value.cast(), size_of::<u64>()) }
}

/// Fills the place of a number.
///
/// # Safety
///
/// As [`pointers::buffer`].
unsafe fn number(place: *mut u8, length: usize) -> i32 {
    // SAFETY: vouched for by the caller.
    errno::status(unsafe { pointers::buffer(place, length) }.and_then(random::fill))
}
