//! The buffers of TCP sockets, which go from one socket to the next.

use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;

use crate::mm::blocks::FRAME;
use crate::mm::frames;

/// Memory for one direction of a connection. Its pages are not there before they are used.
#[derive(Debug)]
pub struct Ring {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: it owns its memory.
unsafe impl Send for Ring {}

impl Ring {
    /// Zeroed memory; `None` when there is none.
    pub fn new(size: usize) -> Option<Ring> {
        let layout = Layout::array::<u8>(size).ok().filter(|_| size > 0)?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Ring { start, size })
    }

    /// The memory.
    ///
    /// # Safety
    ///
    /// It is not used any more when the ring is lent again, or dropped.
    pub unsafe fn lend(&mut self) -> &'static mut [u8] {
        // SAFETY: initialised memory of this size, lent once at a time as the caller vouches.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout.
        unsafe {
            dealloc(self.start.as_ptr(), Layout::from_size_align_unchecked(self.size, 1));
        }
    }
}

/// Rings that no socket uses.
#[derive(Debug, Default)]
pub struct Rings(Vec<Ring>);

/// Rings that are kept for the next connections.
const KEPT: usize = 32;
/// The smallest and the largest ring. A window without a scale is no larger (see `Stack::new_stream`).
const SMALLEST: usize = 4 << 10;
const LARGEST: usize = 64 << 10;
/// A ring takes no more than this part of the memory that is left: so that the first connections have room, and
/// there are always more.
const PART: usize = 512;

impl Rings {
    /// The size of the next ring, when `available` bytes of memory are left.
    fn size(available: usize) -> usize {
        match (available / PART).checked_ilog2() {
            Some(log) => (1usize << log).clamp(SMALLEST, LARGEST),
            None => SMALLEST,
        }
    }

    /// The size of the next ring.
    #[must_use]
    pub fn next_size() -> usize {
        Rings::size(frames::available() * FRAME)
    }

    /// Takes one; `None` when memory is short.
    pub fn take(&mut self) -> Option<Ring> {
        let size = Rings::next_size();
        match self.0.iter().rposition(|ring| ring.size == size) {
            Some(place) => Some(self.0.swap_remove(place)),
            None => Ring::new(size),
        }
    }

    /// Gives one back.
    pub fn give(&mut self, ring: Ring) {
        if self.0.len() == KEPT {
            // It may be of a size that is not asked for any more.
            self.0.swap_remove(0);
        }
        self.0.push(ring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_connections_fit_into_24_mib() {
        let mut left = 24usize << 20;
        for _ in 0..1000 {
            left -= 2 * Rings::size(left);
        }
        assert!(left > 1 << 20, "{left}");
        assert_eq!(Rings::size(64 << 20), LARGEST);
        assert_eq!(Rings::size(0), SMALLEST);
    }
}
