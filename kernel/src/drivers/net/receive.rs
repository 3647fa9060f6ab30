//! What a card receives.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Deref;

use virtio::net::HdrF;

use super::HEADER;
use super::headers::{self, Train};
use crate::device::dma::Chunk;
use crate::device::virtio::Device;
use crate::device::virtio::queue::{Buffer, Queue, Span};
use crate::device::virtio::transport::Doorbell;

/// Bytes at the start of each buffer that the device does not know of: there, a piece of a large segment gets
/// headers of its own.
const HEADROOM: usize = headers::ROOM;

/// Bytes of memory that are taken at once, at first.
const AT_ONCE: usize = 128 << 10;

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
        [Span {
            physical: self.0.physical() + HEADROOM as u64,
            length: (self.0.len() - HEADROOM) as u32,
            writable: true,
        }]
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
    /// Of a large segment, what is still in the queue, and in how many buffers. In the heap, for a receiver is
    /// moved more often than a large segment comes.
    train: Option<Box<(Train, usize)>>,
    /// A frame that came in several buffers and cannot be cut.
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
            self.receiver.give(buffer);
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
        let mut receiver = Receiver {
            queue,
            doorbell,
            device,
            mergeable,
            untold: 0,
            train: None,
            gathered: Vec::new(),
        };
        // Many frames of memory at once, where they are side by side.
        let mut at_once = AT_ONCE.max(size);
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
                None if at_once > size => at_once = size,
                None => break,
            }
        }
        (receiver.queue.free() < receiver.queue.size()).then_some(receiver)
    }

    /// Bytes of a buffer that hold a frame of `length` bytes.
    pub(super) const fn room(length: usize) -> usize {
        HEADROOM + HEADER + length
    }

    #[inline]
    fn give(&mut self, buffer: Incoming) {
        // It came out of the queue, or goes into a new one: only one that is out of use does not take it.
        self.untold += 1;
        let _ = self.queue.add(buffer);
    }

    /// The next received frame.
    #[inline]
    pub fn receive(&mut self) -> Option<Received<'_>> {
        if self.untold >= UNTOLD {
            self.flush();
        }
        if self.train.is_some() {
            return self.next_of_train();
        }
        loop {
            let Some((buffer, length)) = self.queue.used() else {
                self.flush();
                self.look_for_fault();
                return None;
            };
            let length = length as usize;
            // Virtual I/O Device version 1.2, 5.1.6: flags, then the number of buffers as the last field.
            let header: &[u8; HEADER] = match buffer.0[HEADROOM..].first_chunk() {
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
                return self.begin_large(buffer, length, usize::from(count), good);
            }
            return Some(Received {
                receiver: self,
                buffer: Some(buffer),
                start: HEADROOM + HEADER,
                end: HEADROOM + length,
                good,
            });
        }
    }

    /// A frame in several buffers, of which this is the first.
    #[inline(never)]
    fn begin_large(
        &mut self,
        mut buffer: Incoming,
        length: usize,
        count: usize,
        good: bool,
    ) -> Option<Received<'_>> {
        let (start, end) = (HEADROOM + HEADER, HEADROOM + length);
        // Its pieces have no checksums of their own, so that nobody must want to look at one.
        if good && let Some(train) = Train::begin(&mut buffer.0[start..end]) {
            self.train = Some(Box::new((train, count - 1)));
            return Some(Received {
                receiver: self,
                buffer: Some(buffer),
                start,
                end,
                good,
            });
        }
        self.gathered.clear();
        self.gathered.extend_from_slice(&buffer.0[start..end]);
        self.give(buffer);
        for _ in 1..count {
            let (buffer, length) = self.next_piece()?;
            self.gathered
                .extend_from_slice(&buffer.0[HEADROOM..HEADROOM + length]);
            self.give(buffer);
        }
        let end = self.gathered.len();
        Some(Received {
            receiver: self,
            buffer: None,
            start: 0,
            end,
            good,
        })
    }

    /// The next buffer of a frame that has several: all of them are used together (5.1.6.4).
    fn next_piece(&mut self) -> Option<(Incoming, usize)> {
        let Some((buffer, length)) = self.queue.used() else {
            self.look_for_fault();
            self.device
                .put_out("it has received a part of a frame only");
            return None;
        };
        Some((buffer, length as usize))
    }

    #[inline(never)]
    fn next_of_train(&mut self) -> Option<Received<'_>> {
        let mut rest = self.train.take()?;
        let (train, count) = &mut *rest;
        let (mut buffer, length) = self.next_piece()?;
        let start = HEADROOM - train.header();
        let payload = train.next(&mut buffer.0[start..HEADROOM], length);
        *count -= 1;
        if *count > 0 {
            self.train = Some(rest);
        }
        if payload == 0 {
            // Behind the end of the packet.
            self.give(buffer);
            return self.receive();
        }
        Some(Received {
            receiver: self,
            buffer: Some(buffer),
            start,
            end: HEADROOM + payload,
            good: true,
        })
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
        if self.train.is_some() || !self.queue.enable_interrupt() {
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
