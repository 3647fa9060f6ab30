//! Frames on a host: the system's allocator stands in for physical memory.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub use super::blocks::FRAME;

const TOTAL: usize = (1 << 30) / FRAME;

static AVAILABLE: AtomicUsize = AtomicUsize::new(TOTAL);

/// What [`available`] gives from now on.
pub fn set_available(frames: usize) {
    AVAILABLE.store(frames, Relaxed);
}

/// Frames that are neither in use nor promised: as if nothing took any.
#[must_use]
pub fn available() -> usize {
    AVAILABLE.load(Relaxed)
}

/// All frames: 1 GiB.
#[must_use]
pub const fn total() -> usize {
    TOTAL
}
