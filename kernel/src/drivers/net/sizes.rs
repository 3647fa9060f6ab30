//! How much memory a card gets.

use crate::mm::blocks::FRAME;

/// Descriptors and buffers of a pair of queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Descriptors of each queue.
    pub queue: u16,
    /// Bytes of a buffer for what is received.
    pub receive: usize,
    /// Buffers for frames on their way out, at most.
    pub small: usize,
    /// Buffers for large segments on their way out, at most.
    pub large: usize,
}

/// Bytes of a buffer for a frame of the usual size.
pub const SMALL: usize = 2048;

impl Sizes {
    /// For one of `pairs` pairs of queues in a machine with so many bytes of memory. All receive queues together take
    /// a forty-eighth of it at most, from 6 MiB on.
    #[must_use]
    pub const fn of(memory: usize, pairs: usize) -> Sizes {
        const MIB: usize = 1 << 20;
        match memory / pairs / MIB {
            0..16 => Sizes { queue: 64, receive: SMALL, small: 32, large: 2 },
            16..48 => Sizes { queue: 128, receive: SMALL, small: 64, large: 4 },
            _ => Sizes { queue: 256, receive: FRAME, small: 256, large: 16 },
        }
    }
}
