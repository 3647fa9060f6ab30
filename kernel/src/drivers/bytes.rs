//! Bytes on their way, in one piece: what simple devices are given.

use crate::device::dma::Chunk;
use crate::device::virtio::queue::{Buffer, Span};

/// Memory that the device reads, or writes to.
#[derive(Debug)]
pub struct Bytes {
    /// The memory.
    pub chunk: Chunk,
    /// How much of it the device may use; what is more than all of it is cut off.
    pub length: u32,
    writable: bool,
}

impl Bytes {
    /// All of some memory.
    pub fn new(chunk: Chunk, writable: bool) -> Bytes {
        Bytes { length: chunk.len() as u32, chunk, writable }
    }
}

// SAFETY: the span is inside of the chunk, which is nobody else's, for good; a queue that has the value changes nothing
// of it.
unsafe impl Buffer for Bytes {
    type Spans = [Span; 1];

    fn spans(&self) -> Self::Spans {
        [Span {
            physical: self.chunk.physical(),
            length: self.length.min(self.chunk.len() as u32),
            writable: self.writable,
        }]
    }
}
