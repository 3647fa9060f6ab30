//! What a card sends.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use virtio::le16;
use virtio::net::{Hdr, HdrF, HdrGso};

use super::HEADER;
use super::headers::Headers;
use crate::device::dma::Chunk;
use crate::device::virtio::Device;
use crate::device::virtio::queue::{Buffer, Queue, Span};
use crate::device::virtio::transport::Doorbell;

/// A frame on its way out, with the header for the device.
#[derive(Debug)]
pub struct Outgoing {
    chunk: Chunk,
    length: u32,
}

// SAFETY: the span is inside of the chunk, which is nobody else's, for good.
unsafe impl Buffer for Outgoing {
    type Spans = [Span; 1];

    #[inline]
    fn spans(&self) -> Self::Spans {
        [Span { physical: self.chunk.physical(), length: self.length, writable: false }]
    }
}

/// Buffers of one size, taken as they are first needed.
#[derive(Debug)]
pub(super) struct Pool {
    size: usize,
    free: Vec<Chunk>,
    /// How many more may be taken.
    left: usize,
}

impl Pool {
    /// A pool of at most `most` buffers, one of them at least. `None` when memory is short for that.
    pub fn new(size: usize, most: usize) -> Option<Pool> {
        let mut pool = Pool { size, free: Vec::new(), left: most };
        pool.is_ready().then_some(pool)
    }

    /// The same with at most `most` buffers.
    pub fn with_most(self, most: usize) -> Pool {
        Pool { left: most.saturating_sub(self.free.len()), ..self }
    }

    /// True when there is a buffer.
    #[inline]
    fn is_ready(&mut self) -> bool {
        !self.free.is_empty() || self.grow()
    }

    #[cold]
    fn grow(&mut self) -> bool {
        if self.left > 0
            && let Some(mut frames) = Chunk::new(self.size)
        {
            while let Some(chunk) = frames.take_front(self.size) {
                self.free.push(chunk);
                self.left = self.left.saturating_sub(1);
            }
        }
        !self.free.is_empty()
    }
}

/// The transmit queue of a pair.
#[derive(Debug)]
pub struct Transmitter {
    queue: Queue<Outgoing>,
    doorbell: Doorbell,
    device: &'static Device,
    small: Pool,
    large: Option<Pool>,
    /// The device fills in checksums.
    checksum: bool,
    /// Somebody waits until a frame can be sent.
    blocked: bool,
    /// Where a frame is made that cannot be sent.
    nowhere: Vec<u8>,
}

impl Transmitter {
    pub(super) const fn new(
        queue: Queue<Outgoing>,
        doorbell: Doorbell,
        device: &'static Device,
        checksum: bool,
        small: Pool,
        large: Option<Pool>,
    ) -> Transmitter {
        Transmitter {
            queue,
            doorbell,
            device,
            small,
            large,
            checksum,
            blocked: false,
            nowhere: Vec::new(),
        }
    }

    /// Takes back what the device has sent.
    fn reclaim(&mut self) {
        while let Some((Outgoing { chunk, .. }, _)) = self.queue.used() {
            match &mut self.large {
                Some(large) if chunk.len() == large.size => large.free.push(chunk),
                _ => self.small.free.push(chunk),
            }
        }
        if let Some(fault) = self.queue.fault() {
            self.device.put_out(fault);
        }
    }

    /// True when there are a descriptor and buffers of each size.
    #[inline]
    fn has_room(&self) -> bool {
        let has = |pool: &Pool| !pool.free.is_empty();
        self.queue.free() > 0 && has(&self.small) && self.large.as_ref().is_none_or(has)
    }

    /// Takes more memory where buffers are missing.
    #[cold]
    fn grow(&mut self) -> bool {
        self.queue.free() > 0
            && self.small.is_ready()
            && self.large.as_mut().is_none_or(Pool::is_ready)
    }

    /// True when a frame of the largest size can be sent now. A card that is out of use sends anything, to
    /// nowhere, as one without a cable.
    #[inline]
    pub fn can_transmit(&mut self) -> bool {
        if self.has_room() {
            return true;
        }
        // Buffers are taken back many at a time, and made when none comes back.
        self.reclaim();
        self.blocked = !self.has_room() && !self.grow() && self.queue.fault().is_none();
        !self.blocked
    }

    /// Makes a frame of `length` bytes in the device's memory, and queues it. `segment`: cut the payload of this
    /// TCP segment into segments of that size. What cannot be sent, for [`Transmitter::can_transmit`] was not
    /// asked, is lost.
    #[inline]
    pub fn transmit<R>(
        &mut self,
        length: usize,
        segment: Option<NonZeroU16>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let total = HEADER + length;
        let chunk = if total <= self.small.size {
            self.small.free.pop()
        } else {
            self.large
                .as_mut()
                .filter(|large| total <= large.size)
                .and_then(|large| large.free.pop())
        };
        let Some(mut chunk) = chunk.filter(|_| self.queue.free() > 0) else {
            self.nowhere.clear();
            self.nowhere.resize(length, 0);
            return fill(&mut self.nowhere);
        };
        let frame = &mut chunk[HEADER..total];
        let result = fill(frame);
        let header = if self.checksum { offloads(frame, segment) } else { [0; HEADER] };
        chunk[..HEADER].copy_from_slice(&header);
        let outgoing = Outgoing { chunk, length: total as u32 };
        // A queue that is out of use loses it.
        let _ = self.queue.add(outgoing);
        result
    }

    /// What tells the device of what was queued, if it wants to know.
    #[inline]
    pub fn bell(&mut self) -> Option<Doorbell> {
        self.queue.needs_notification().then_some(self.doorbell)
    }

    /// Lets the device interrupt when somebody waits until a frame can be sent; false when one can.
    pub fn enable_interrupt(&mut self) -> bool {
        !self.blocked || self.queue.enable_interrupt() || {
            self.queue.disable_interrupt();
            false
        }
    }

    pub(super) fn disable_interrupt(&mut self) {
        self.queue.disable_interrupt();
    }
}

/// The header that lets the device do the rest of a frame's checksum, and cut its payload (5.1.6.2).
#[inline]
fn offloads(frame: &mut [u8], segment: Option<NonZeroU16>) -> [u8; HEADER] {
    let Some(headers) = Headers::of(frame).filter(|headers| headers.end <= frame.len()) else {
        return [0; HEADER];
    };
    headers.begin_checksum(frame);
    let mut header = Hdr {
        flags: HdrF::NEEDS_CSUM,
        csum_start: le16::from_ne(headers.transport as u16),
        csum_offset: le16::from_ne(headers.checksum_offset() as u16),
        ..Hdr::default()
    };
    if let Some(segment) = segment
        && headers.tcp
        && headers.end - headers.payload > usize::from(segment.get())
    {
        header.gso_type = match headers.v6 {
            true => HdrGso::Tcpv6.into(),
            false => HdrGso::Tcpv4.into(),
        };
        header.hdr_len = le16::from_ne(headers.payload as u16);
        header.gso_size = le16::from_ne(segment.get());
    }
    bytes(&header)
}

fn bytes(header: &Hdr) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0] = header.flags.bits();
    bytes[1] = header.gso_type;
    let words = [
        header.hdr_len,
        header.gso_size,
        header.csum_start,
        header.csum_offset,
        header.num_buffers,
    ];
    for (place, word) in bytes[2..].chunks_exact_mut(2).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
