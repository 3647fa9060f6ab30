//! What a card receives.

use alloc::vec::Vec;
use core::ops::Deref;

use virtio::net::HdrF;

use super::{HEADER, LARGEST};
use crate::device::dma::Chunk;
use crate::device::virtio::Device;
use crate::device::virtio::queue::{Buffer, Queue, Span};
use crate::device::virtio::transport::Doorbell;

/// Buffers that are given back, at most, before the device is told.
const UNTOLD: u32 = 32;

/// Memory for what the device receives.
#[derive(Debug)]
pub struct Incoming(Chunk);

// SAFETY: the span is inside of the chunk, which is nobody else's, for good.
unsafe impl Buffer for Incoming {
    type Spans = [Span; 1];

    #[inline]
    fn spans(&self) -> Self::Spans {
        [Span { physical: self.0.physical(), length: self.0.len() as u32, writable: true }]
    }
}

/// The receive queue of a pair.
#[derive(Debug)]
pub struct Receiver {
    queue: Queue<Incoming>,
    doorbell: Doorbell,
    device: &'static Device,
    mergeable: bool,
    /// Buffers that were given back and that the device may not know of.
    untold: u32,
    /// Bytes of a buffer.
    size: usize,
    /// A frame that came in several buffers which are not side by side.
    gathered: Vec<u8>,
}

/// A received Ethernet frame, in place. It goes back to the device when dropped.
#[derive(Debug)]
pub struct Received<'a> {
    receiver: &'a mut Receiver,
    /// What the frame lies in; `None`: in [`Receiver::gathered`].
    buffer: Option<Incoming>,
    start: usize,
    end: usize,
    good: bool,
}

impl Received<'_> {
    /// True when the frame is where the device has put it.
    #[cfg(test)]
    pub const fn is_in_place(&self) -> bool {
        self.buffer.is_some()
    }

    /// True when the checksum of TCP or UDP, if the frame has one, needs no look: the device has looked, or the
    /// frame comes from the same machine and has none. IPv4's own checksum is always there.
    #[inline]
    #[must_use]
    pub const fn checksum_is_good(&self) -> bool {
        self.good
    }
}

impl Deref for Received<'_> {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer.0[self.start..self.end],
            None => &self.receiver.gathered[self.start..self.end],
        }
    }
}

impl Drop for Received<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.receiver.give_pieces(buffer);
        }
    }
}

impl Receiver {
    /// A receiver with buffers of `size` bytes in all of its queue, as far as memory goes; `None` when it does not
    /// go at all.
    pub(super) fn new(
        queue: Queue<Incoming>,
        doorbell: Doorbell,
        device: &'static Device,
        mergeable: bool,
        size: usize,
    ) -> Option<Receiver> {
        let mut receiver =
            Receiver { queue, doorbell, device, mergeable, untold: 0, size, gathered: Vec::new() };
        // As much at once as there is side by side, so that a frame in several buffers is in one piece.
        let mut at_once = usize::from(receiver.queue.size()) * size;
        while receiver.queue.free() > 0 {
            let wanted = at_once.min(usize::from(receiver.queue.free()) * size);
            match Chunk::new(wanted) {
                Some(mut frames) => {
                    while receiver.queue.free() > 0
                        && let Some(chunk) = frames.take_front(size)
                    {
                        receiver.give(Incoming(chunk));
                    }
                }
                None if at_once > size => at_once = (at_once / 2).next_multiple_of(size),
                None => break,
            }
        }
        (receiver.queue.free() < receiver.queue.size()).then_some(receiver)
    }

    /// Bytes of a buffer that hold a frame of `length` bytes.
    pub(super) const fn room(length: usize) -> usize {
        HEADER + length
    }

    #[inline]
    fn give(&mut self, buffer: Incoming) {
        // It came out of the queue, or goes into a new one: only one that is out of use does not take it.
        self.untold += 1;
        let _ = self.queue.add(buffer);
    }

    /// Gives back what a frame was in, buffer by buffer, in the order in which they came.
    #[inline]
    fn give_pieces(&mut self, mut frame: Incoming) {
        while frame.0.len() > self.size
            && let Some(buffer) = frame.0.take_front(self.size)
        {
            self.give(Incoming(buffer));
        }
        self.give(frame);
    }

    /// The next received frame.
    #[inline]
    pub fn receive(&mut self) -> Option<Received<'_>> {
        if self.untold >= UNTOLD {
            self.flush();
        }
        loop {
            let Some((buffer, length)) = self.queue.used() else {
                self.flush();
                self.look_for_fault();
                return None;
            };
            let length = length as usize;
            // Virtual I/O Device version 1.2, 5.1.6: flags, then the number of buffers as the last field.
            let header: &[u8; HEADER] = match buffer.0.first_chunk() {
                Some(header) if length >= HEADER => header,
                _ => {
                    self.give(buffer);
                    continue;
                }
            };
            let flags = HdrF::from_bits_retain(header[0]);
            let good = flags.intersects(HdrF::NEEDS_CSUM | HdrF::DATA_VALID);
            let count = u16::from_le_bytes([header[10], header[11]]);
            if self.mergeable && count > 1 {
                return self.receive_large(buffer, length, usize::from(count), good);
            }
            return Some(Received {
                receiver: self,
                buffer: Some(buffer),
                start: HEADER,
                end: length,
                good,
            });
        }
    }

    /// A frame in several buffers, of which this is the first. They are side by side, but for the end of the memory
    /// that they were cut from, for they are used and given back in turn.
    #[inline(never)]
    fn receive_large(
        &mut self,
        mut buffer: Incoming,
        mut end: usize,
        count: usize,
        good: bool,
    ) -> Option<Received<'_>> {
        if (count - 1) * self.size > HEADER + LARGEST {
            self.device.put_out("it has received a frame that is longer than any");
            return None;
        }
        for done in 1..count {
            let (next, length) = self.next_piece()?;
            if end != buffer.0.len() {
                // There is a gap behind what is here.
                return self.gather(buffer, end, Some((next, length)), count - done - 1, good);
            }
            match buffer.0.join(next.0) {
                Ok(()) => end += length,
                Err(next) => {
                    let next = (Incoming(next), length);
                    return self.gather(buffer, end, Some(next), count - done - 1, good);
                }
            }
        }
        Some(Received { receiver: self, buffer: Some(buffer), start: HEADER, end, good })
    }

    /// Copies a frame together: what is here already, the next piece, and as many more.
    #[cold]
    fn gather(
        &mut self,
        buffer: Incoming,
        end: usize,
        mut next: Option<(Incoming, usize)>,
        mut more: usize,
        good: bool,
    ) -> Option<Received<'_>> {
        self.gathered.clear();
        // Without memory the frame is lost, as any may be.
        let room = self.gathered.try_reserve(LARGEST + self.size).is_ok();
        if room {
            self.gathered.extend_from_slice(&buffer.0[HEADER..end]);
        }
        self.give_pieces(buffer);
        while let Some((piece, length)) = next.take() {
            if room {
                self.gathered.extend_from_slice(&piece.0[..length]);
            }
            self.give(piece);
            if more > 0 {
                more -= 1;
                next = Some(self.next_piece()?);
            }
        }
        if !room {
            return None;
        }
        let end = self.gathered.len();
        Some(Received { receiver: self, buffer: None, start: 0, end, good })
    }

    /// The next buffer of a frame that has several: all of them are used together (5.1.6.4).
    fn next_piece(&mut self) -> Option<(Incoming, usize)> {
        let Some((buffer, length)) = self.queue.used() else {
            self.look_for_fault();
            self.device.put_out("it has received a part of a frame only");
            return None;
        };
        Some((buffer, length as usize))
    }

    #[inline]
    fn look_for_fault(&self) {
        if let Some(fault) = self.queue.fault() {
            self.device.put_out(fault);
        }
    }

    /// Tells the device of buffers that were given back, if it wants to know.
    #[inline]
    pub fn flush(&mut self) {
        self.untold = 0;
        if self.queue.needs_notification() {
            self.doorbell.ring();
        }
    }

    /// Lets the device interrupt; false when a frame is there already: the interrupt may never come then.
    #[inline]
    pub fn enable_interrupt(&mut self) -> bool {
        self.flush();
        if !self.queue.enable_interrupt() {
            self.queue.disable_interrupt();
            return false;
        }
        true
    }

    /// Asks the device not to interrupt.
    #[inline]
    pub fn disable_interrupt(&mut self) {
        self.queue.disable_interrupt();
    }
}
