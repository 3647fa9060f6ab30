//! Frames on a host: the system's allocator stands in for physical memory.

use core::alloc::Layout;
use core::cell::Cell;

pub use super::blocks::FRAME;

const TOTAL: usize = (1 << 30) / FRAME;

std::thread_local! {
    static AVAILABLE: Cell<usize> = const { Cell::new(TOTAL) };
}

/// What [`available`] gives this thread from now on.
pub fn set_available(frames: usize) {
    AVAILABLE.set(frames);
}

/// Frames that are neither in use nor promised: as if nothing took any.
#[must_use]
pub fn available() -> usize {
    AVAILABLE.get()
}

/// Takes a run of frames, for good; gives its address.
#[must_use]
pub fn allocate(count: usize) -> Option<usize> {
    let layout = Layout::from_size_align(count.checked_mul(FRAME)?, FRAME).ok()?;
    // SAFETY: the layout has a size, for nobody asks for no frame.
    let start = unsafe { std::alloc::alloc(layout) };
    (!start.is_null()).then_some(start as usize)
}

/// All frames: 1 GiB.
#[must_use]
pub const fn total() -> usize {
    TOTAL
}
