//! The buffers of TCP sockets, which go from one socket to the next.

use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;

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
            dealloc(
                self.start.as_ptr(),
                Layout::from_size_align_unchecked(self.size, 1),
            );
        }
    }
}

/// Rings that no socket uses.
#[derive(Debug)]
pub struct Rings {
    size: usize,
    free: Vec<Ring>,
}

/// Rings that are kept for the next connections.
const KEPT: usize = 32;
/// The size of a ring, by how much memory there is.
const SMALLEST: usize = 8 << 10;
const LARGEST: usize = 256 << 10;

impl Rings {
    /// For a machine with `available` bytes of memory.
    #[must_use]
    pub fn new(available: usize) -> Rings {
        // A thousand connections shall not take more than half.
        let size = (available / 2048)
            .next_power_of_two()
            .clamp(SMALLEST, LARGEST);
        Rings {
            size,
            free: Vec::new(),
        }
    }

    /// Bytes in a ring.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Takes one; `None` when memory is short.
    pub fn take(&mut self) -> Option<Ring> {
        self.free.pop().or_else(|| Ring::new(self.size))
    }

    /// Gives one back.
    pub fn give(&mut self, ring: Ring) {
        if self.free.len() < KEPT && ring.size == self.size {
            self.free.push(ring);
        }
    }
}
