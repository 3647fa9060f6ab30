//! Buffers for packets.

use alloc::vec::Vec;

use crate::device::dma::Chunk;
use crate::device::virtio::queue::{Buffer, Span};

/// Memory for what the device receives.
#[derive(Debug)]
pub struct Incoming(pub Chunk);

// SAFETY: the span is the chunk, which is nobody else's, for good.
unsafe impl Buffer for Incoming {
    type Spans = [Span; 1];

    fn spans(&self) -> Self::Spans {
        [Span { physical: self.0.physical(), length: self.0.len() as u32, writable: true }]
    }
}

/// A packet on its way out.
#[derive(Debug)]
pub struct Outgoing {
    /// What it lies in.
    pub chunk: Chunk,
    /// Its bytes, at the chunk's start.
    pub length: u32,
}

// SAFETY: the span is inside of the chunk, which is nobody else's, for good.
unsafe impl Buffer for Outgoing {
    type Spans = [Span; 1];

    fn spans(&self) -> Self::Spans {
        [Span { physical: self.chunk.physical(), length: self.length, writable: false }]
    }
}

/// Buffers of one size, taken as they are first needed.
#[derive(Debug)]
pub struct Pool {
    /// Bytes of each.
    pub size: usize,
    /// Those that the device does not have.
    pub free: Vec<Chunk>,
    /// How many more may be taken.
    left: usize,
}

impl Pool {
    /// A pool of at most `most` buffers, one of them at least. `None` when memory is short for that.
    pub fn new(size: usize, most: usize) -> Option<Pool> {
        let mut pool = Pool { size, free: Vec::new(), left: most };
        pool.is_ready().then_some(pool)
    }

    /// True when there is a buffer.
    pub fn is_ready(&mut self) -> bool {
        if self.free.is_empty()
            && self.left > 0
            && let Some(mut frames) = Chunk::new(self.size)
        {
            while self.left > 0
                && let Some(chunk) = frames.take_front(self.size)
            {
                self.free.push(chunk);
                self.left -= 1;
            }
        }
        !self.free.is_empty()
    }
}
