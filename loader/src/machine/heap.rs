//! A heap that is always empty.

use core::alloc::{GlobalAlloc, Layout};

/// `hermit-entry` names the crate `alloc` in its loader half, so that a program with it must have
/// an allocator. The loader allocates nothing; a call would get an error.
struct Empty;

// SAFETY: an allocator may refuse every request.
unsafe impl GlobalAlloc for Empty {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Empty = Empty;
