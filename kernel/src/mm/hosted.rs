//! Frames on a host: the system's allocator stands in for physical memory.

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

/// All frames: 1 GiB.
#[must_use]
pub const fn total() -> usize {
    TOTAL
}
