//! Virtqueues (Virtual I/O Device version 1.2, section 2.6): how buffers go to a device and come back.
//!
//! A buffer belongs to the queue from [`Queue::add`] until [`Queue::used`] gives it back, so that nobody
//! touches what the device may be writing to. What a device says is believed only after a look at it: the
//! first thing that cannot be true puts the queue out of use, for good.

mod packed;
mod shared;
mod split;
#[cfg(test)]
pub mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;

use packed::Packed;
use split::Split;

/// A part of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it starts, for the device.
    pub physical: u64,
    /// Bytes in it.
    pub length: u32,
    /// The device writes to it; otherwise it reads.
    pub writable: bool,
}

/// What is given to a device.
///
/// # Safety
///
/// The spans are the same for as long as the value lives, wherever it is moved. They lie in memory that
/// nobody but the value's owner uses, and that is never used for anything else, not even when the value is
/// gone.
pub unsafe trait Buffer {
    /// The parts, as an array or anything like it.
    type Spans: AsRef<[Span]>;

    /// The parts: at least one, those that the device reads before those that it writes to (2.6.4.2).
    fn spans(&self) -> Self::Spans;
}

/// Where the three areas of a queue are, for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Areas {
    /// Descriptors.
    pub descriptors: u64,
    /// What the driver writes.
    pub driver: u64,
    /// What the device writes.
    pub device: u64,
}

/// What the driver and the device have agreed on, as far as queues are concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// `VIRTIO_F_RING_PACKED`.
    pub packed: bool,
    /// `VIRTIO_F_EVENT_IDX`.
    pub event_index: bool,
}

#[derive(Debug)]
enum Ring {
    Split(Split),
    Packed(Packed),
}

macro_rules! ring {
    ($self:expr, $ring:ident => $body:expr) => {
        match $self {
            Ring::Split($ring) => $body,
            Ring::Packed($ring) => $body,
        }
    };
}

/// A queue for buffers of one kind.
#[derive(Debug)]
pub struct Queue<B> {
    ring: Ring,
    /// By the number that the device knows them by.
    slots: Box<[Option<B>]>,
    free: u16,
    fault: Option<&'static str>,
}

/// `size` values made by `make`. `None` when memory is short.
fn table<T>(size: u16, make: impl FnMut(u16) -> T) -> Option<Box<[T]>> {
    let mut values = Vec::new();
    values.try_reserve_exact(size.into()).ok()?;
    values.extend((0..size).map(make));
    Some(values.into_boxed_slice())
}

impl<B: Buffer> Queue<B> {
    /// A queue of `size` descriptors, a power of two up to 32768. `None` when memory is short.
    #[must_use]
    pub fn new(size: u16, format: Format) -> Option<Queue<B>> {
        assert!(size.is_power_of_two(), "the size of a virtqueue");
        let ring = match format.packed {
            true => Ring::Packed(Packed::new(size, format.event_index)?),
            false => Ring::Split(Split::new(size, format.event_index)?),
        };
        Some(Queue { ring, slots: table(size, |_| None)?, free: size, fault: None })
    }

    /// How many descriptors it has.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.slots.len() as u16
    }

    /// Where the areas are.
    #[must_use]
    pub fn areas(&self) -> Areas {
        ring!(&self.ring, ring => ring.areas())
    }

    /// How many descriptors are free: one for each part of a buffer.
    #[inline]
    #[must_use]
    pub const fn free(&self) -> u16 {
        self.free
    }

    /// Why the queue is out of use, if it is.
    #[inline]
    #[must_use]
    pub const fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    /// Gives a buffer to the device.
    ///
    /// # Errors
    ///
    /// The buffer, when there are not enough descriptors or the queue is out of use.
    #[inline]
    pub fn add(&mut self, buffer: B) -> Result<(), B> {
        let spans = buffer.spans();
        let spans = spans.as_ref();
        let count = spans.len();
        if count == 0 || count > usize::from(self.free) || self.fault.is_some() {
            return Err(buffer);
        }
        self.free -= count as u16;
        // Before the device can know of it.
        let id = ring!(&self.ring, ring => ring.next_id());
        self.slots[usize::from(id)] = Some(buffer);
        ring!(&mut self.ring, ring => ring.add(spans));
        Ok(())
    }

    /// The next buffer that the device has done with, and how many bytes it wrote.
    #[inline]
    pub fn used(&mut self) -> Option<(B, u32)> {
        if !ring!(&self.ring, ring => ring.has_used()) || self.fault.is_some() {
            return None;
        }
        match self.take_used() {
            Ok(used) => Some(used),
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }

    #[inline]
    fn take_used(&mut self) -> Result<(B, u32), &'static str> {
        let (id, length) = ring!(&mut self.ring, ring => ring.used())?;
        let slot = usize::try_from(id)
            .ok()
            .and_then(|id| self.slots.get_mut(id))
            .ok_or("it has used a descriptor that is none")?;
        let buffer = slot.take().ok_or("it has used a buffer that it had not been given")?;
        let spans = buffer.spans();
        let spans = spans.as_ref();
        self.free += spans.len() as u16;
        // What a device tells about a buffer that it may only read means nothing (2.7.8.2).
        let room: u32 = spans.iter().filter(|span| span.writable).map(|span| span.length).sum();
        let length = if room == 0 { 0 } else { length };
        if length > room {
            return Err("it says that it has written more than it may");
        }
        ring!(&mut self.ring, ring => ring.release(id as u16));
        Ok((buffer, length))
    }

    /// True when the device has to be told of what was added since the last question.
    #[inline]
    pub fn needs_notification(&mut self) -> bool {
        ring!(&mut self.ring, ring => ring.needs_notification()) && self.fault.is_none()
    }

    /// Lets the device interrupt when it uses the next buffer; false when it has done so already.
    #[inline]
    pub fn enable_interrupt(&mut self) -> bool {
        ring!(&mut self.ring, ring => ring.enable_interrupt());
        !ring!(&self.ring, ring => ring.has_used()) || self.fault.is_some()
    }

    /// Asks the device not to interrupt. It may do so nevertheless.
    #[inline]
    pub fn disable_interrupt(&mut self) {
        ring!(&mut self.ring, ring => ring.disable_interrupt());
    }
}

/// Numbers that nobody uses at the moment, as a list: what follows each of them.
#[derive(Debug)]
struct Free {
    next: Box<[u16]>,
    head: u16,
}

impl Free {
    fn new(size: u16) -> Option<Free> {
        let next = table(size, |number| number + 1)?;
        Some(Free { next, head: 0 })
    }

    /// The number that [`Free::take`] gives next.
    #[inline]
    const fn first(&self) -> u16 {
        self.head
    }

    #[inline]
    fn take(&mut self) -> u16 {
        let number = self.head;
        self.head = self.next[usize::from(number)];
        number
    }

    #[inline]
    fn give(&mut self, number: u16) {
        self.next[usize::from(number)] = self.head;
        self.head = number;
    }
}

/// Whether the step from `old` to `new` passes what the other side waits for (2.7.7.2: `vring_need_event`).
#[inline]
const fn passes(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
