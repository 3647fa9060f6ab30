//! The queue by which a card is told what to do (Virtual I/O Device version 1.2, 5.1.6.5).

use virtio::net::Ctrl;
use virtio::net::ctrl::Mq;

use crate::device::dma::Chunk;
use crate::device::virtio::queue::{Buffer, Queue, Span};
use crate::device::virtio::transport::{Doorbell, Refusal};

/// A command and, behind it, the device's answer.
#[derive(Debug)]
pub struct Command {
    chunk: Chunk,
    length: usize,
}

// SAFETY: the spans are inside of the chunk, which is nobody else's, for good.
unsafe impl Buffer for Command {
    type Spans = [Span; 2];

    fn spans(&self) -> Self::Spans {
        let physical = self.chunk.physical();
        [
            Span { physical, length: self.length as u32, writable: false },
            Span { physical: physical + self.length as u64, length: 1, writable: true },
        ]
    }
}

/// `VIRTIO_NET_OK`.
const OK: u8 = 0;
/// Looks at the queue before the device is given up: some seconds.
const LOOKS: u32 = 100_000_000;

/// Makes the device use so many pairs of queues.
///
/// # Errors
///
/// When it does not.
pub fn set_pairs(
    queue: &mut Queue<Command>,
    doorbell: &Doorbell,
    pairs: u16,
) -> Result<(), Refusal> {
    let [low, high] = pairs.to_le_bytes();
    let command = [Ctrl::Mq.into(), Mq::VqPairsSet.into(), low, high];
    let mut chunk = Chunk::new(command.len() + 1).ok_or("memory is short for a command")?;
    chunk[..command.len()].copy_from_slice(&command);
    chunk[command.len()] = !OK;
    let command = Command { chunk, length: command.len() };
    queue.add(command).map_err(|_| "its control queue has no room for a command")?;
    if queue.needs_notification() {
        doorbell.ring();
    }
    for _ in 0..LOOKS {
        if let Some((Command { chunk, length }, _)) = queue.used() {
            return match chunk[length] {
                OK => Ok(()),
                _ => Err("it refuses to use several queues"),
            };
        }
        if let Some(fault) = queue.fault() {
            return Err(fault);
        }
        core::hint::spin_loop();
    }
    Err("it does not answer a command")
}
