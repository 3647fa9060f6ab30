//! Memory that devices read and write.

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::arch;
use crate::mm::blocks::LONGEST_RUN;
use crate::mm::frames::{self, FRAME};

/// A piece of memory, contiguous for a device too, which nobody else has.
///
/// It is taken for good: a device that does not keep to its word may write to it at any time, so that it
/// must not become something else.
#[derive(Debug)]
pub struct Chunk {
    pointer: NonNull<u8>,
    physical: usize,
    size: usize,
}

// SAFETY: a chunk is the only way to its memory.
unsafe impl Send for Chunk {}

impl Chunk {
    /// Takes memory of at least `size` bytes, at the start of a frame, with whatever was in it: what runs the
    /// machine sees all of it anyway. `None` when memory is short, or has nothing as long as that.
    #[must_use]
    pub fn new(size: usize) -> Option<Chunk> {
        let count = size.div_ceil(FRAME).max(1);
        if count > LONGEST_RUN {
            return None;
        }
        let physical = frames::allocate(count)?;
        let pointer = NonNull::new(arch::direct(physical) as *mut u8)?;
        Some(Chunk { pointer, physical, size: count * FRAME })
    }

    /// The same with zeros in it.
    #[must_use]
    pub fn zeroed(size: usize) -> Option<Chunk> {
        let mut chunk = Chunk::new(size)?;
        chunk.fill(0);
        Some(chunk)
    }

    /// Takes the first `size` bytes off; gives `None` when it is not as large as that.
    pub fn take_front(&mut self, size: usize) -> Option<Chunk> {
        let rest = self.size.checked_sub(size)?;
        let front = Chunk { size, ..*self };
        // SAFETY: at most one past the end of the memory.
        self.pointer = unsafe { self.pointer.add(size) };
        self.physical += size;
        self.size = rest;
        Some(front)
    }

    /// Puts the chunk that begins where this one ends behind it.
    ///
    /// # Errors
    ///
    /// The chunk, when it lies elsewhere.
    pub fn join(&mut self, next: Chunk) -> Result<(), Chunk> {
        if self.physical + self.size != next.physical {
            return Err(next);
        }
        // Physical memory is mapped as a whole, so that the bytes are side by side for us too.
        self.size += next.size;
        Ok(())
    }

    /// The address that the device knows it by.
    #[inline]
    #[must_use]
    pub const fn physical(&self) -> u64 {
        self.physical as u64
    }

    /// Where it starts.
    #[inline]
    #[must_use]
    pub const fn pointer(&self) -> NonNull<u8> {
        self.pointer
    }
}

impl Deref for Chunk {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the chunk's own memory, whose bytes are numbers, whoever wrote them. A device that it was
        // given to has handed it back.
        unsafe { core::slice::from_raw_parts(self.pointer.as_ptr(), self.size) }
    }
}

impl DerefMut for Chunk {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`.
        unsafe { core::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.size) }
    }
}
