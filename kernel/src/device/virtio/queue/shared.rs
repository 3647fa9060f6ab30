//! The memory that a queue's driver and its device share.

use core::ptr::NonNull;
use core::sync::atomic::AtomicU16;

use crate::device::dma::Chunk;

/// Descriptors and rings, in one piece. Offsets are those of a layout, for which it was made large enough.
#[derive(Debug)]
pub struct Shared(Chunk);

impl Shared {
    /// Memory of at least `size` bytes, all zero.
    pub fn new(size: usize) -> Option<Shared> {
        Chunk::zeroed(size).map(Shared)
    }

    /// The address that the device knows it by.
    pub const fn physical(&self) -> u64 {
        self.0.physical()
    }

    /// A pointer into the memory.
    #[inline]
    pub fn at<T>(&self, offset: usize) -> NonNull<T> {
        debug_assert!(offset + size_of::<T>() <= self.0.len());
        // SAFETY: inside the memory, as the type's description says.
        unsafe { self.0.pointer().add(offset).cast() }
    }

    /// A number that both sides read and write.
    #[inline]
    pub fn word(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: the memory lives as long as the queue; the offset is even; all accesses are atomic.
        unsafe { AtomicU16::from_ptr(self.at(offset).as_ptr()) }
    }
}
