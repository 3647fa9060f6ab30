//! Memory.

use hermit_abi::{PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE};
use skete_kernel::arch::paging::Access;
use skete_kernel::mm::area::{self, Kind};
use skete_kernel::mm::frames::FRAME;
use skete_kernel::mm::heap;
use skete_kernel::{Error, Result};

use crate::errno::status;

// `sys_alloc`, `sys_malloc`, `sys_dealloc` and `sys_free` are names of the kernel's own functions
// (`arch::objects`): an allocation is so short that even a jump counts.

/// True when a request means something: std's `Layout` promises as much.
const fn valid(size: usize, align: usize) -> bool {
    align.is_power_of_two() && size <= isize::MAX as usize - align
}

#[unsafe(no_mangle)]
extern "C" fn sys_alloc_zeroed(size: usize, align: usize) -> *mut u8 {
    if valid(size, align) { heap::allocate_zeroed(size, align) } else { core::ptr::null_mut() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_realloc(
    pointer: *mut u8,
    size: usize,
    align: usize,
    new_size: usize,
) -> *mut u8 {
    if !valid(new_size, align) {
        return core::ptr::null_mut();
    }
    // SAFETY: the caller passes what `sys_alloc` gave, with the size and alignment of then.
    unsafe { heap::resize(pointer, size, align, new_size) }
}

#[unsafe(no_mangle)]
extern "C" fn sys_getpagesize() -> i32 {
    FRAME as i32
}

/// What protection bits ask for. Memory that is both writable and executable there is none.
fn access(protection: u32) -> Result<Access> {
    const READ_WRITE: u32 = PROT_READ | PROT_WRITE;
    const READ_EXECUTE: u32 = PROT_READ | PROT_EXEC;
    match protection {
        PROT_NONE => Ok(Access::None),
        PROT_READ => Ok(Access::Read),
        PROT_WRITE | READ_WRITE => Ok(Access::ReadWrite),
        PROT_EXEC | READ_EXECUTE => Ok(Access::ReadExecute),
        _ => Err(Error::PermissionDenied),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_mmap(size: usize, protection: u32, result: *mut *mut u8) -> i32 {
    status(access(protection).and_then(|access| {
        if size == 0 || result.is_null() {
            return Err(Error::InvalidArgument);
        }
        let start = area::allocate(size, FRAME, Kind::Heap)?;
        if access != Access::ReadWrite {
            area::protect(start, size.next_multiple_of(FRAME), access)
                .inspect_err(|_| _ = area::free(start))?;
        }
        // SAFETY: the caller passes a place for a pointer.
        unsafe { result.write(start as *mut u8) };
        Ok(())
    }))
}

/// Unmaps a whole mapping: parts of one stay until the rest goes.
#[unsafe(no_mangle)]
extern "C" fn sys_munmap(pointer: *mut u8, size: usize) -> i32 {
    let start = pointer as usize;
    status(area::size(start).and_then(|whole| {
        if size.next_multiple_of(FRAME) == whole {
            area::free(start)
        } else {
            Err(Error::InvalidArgument)
        }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sys_mprotect(pointer: *mut u8, size: usize, protection: u32) -> i32 {
    let size = size.next_multiple_of(FRAME);
    status(access(protection).and_then(|access| area::protect(pointer as usize, size, access)))
}
