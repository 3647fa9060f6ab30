//! Packed virtqueues (Virtual I/O Device version 1.2, section 2.8).

use core::sync::atomic::{
    Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst, fence,
};

use alloc::boxed::Box;
use virtio::RingEventFlags;
use virtio::pvirtq::{Desc, EventSuppressDesc};
use virtio::virtq::DescF;
use virtio::{le16, le32, le64};

use super::shared::Shared;
use super::{Areas, Free, Span, passes, table};

/// Offset of a descriptor's flags.
const FLAGS: usize = core::mem::offset_of!(Desc, flags);

/// A place in the ring.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: u16,
    /// The wrap counter: changes each time the end of the ring is passed; at first it is true.
    wrap: bool,
}

impl Place {
    #[inline]
    const fn advance(&mut self, count: u16, size: u16) {
        self.position += count;
        if self.position >= size {
            self.position -= size;
            self.wrap = !self.wrap;
        }
    }
}

#[derive(Debug)]
pub struct Packed {
    shared: Shared,
    size: u16,
    event_index: bool,
    /// Buffer IDs.
    free: Free,
    /// How many descriptors the buffer with this ID has.
    counts: Box<[u16]>,
    /// Where the next available descriptor is written.
    available: Place,
    /// Where the next used descriptor will be.
    used: Place,
    /// Descriptors that were made available since the device was last told.
    untold: u16,
}

impl Packed {
    pub fn new(size: u16, event_index: bool) -> Option<Packed> {
        let start = Place { position: 0, wrap: true };
        let mut packed = Packed {
            shared: Shared::new(device_offset(size) + 4)?,
            size,
            event_index,
            free: Free::new(size)?,
            counts: table(size, |_| 0)?,
            available: start,
            used: start,
            untold: 0,
        };
        packed.disable_interrupt();
        Some(packed)
    }

    pub fn areas(&self) -> Areas {
        let start = self.shared.physical();
        Areas {
            descriptors: start,
            driver: start + driver_offset(self.size) as u64,
            device: start + device_offset(self.size) as u64,
        }
    }

    /// The number that the device will know the next buffer by.
    #[inline]
    pub const fn next_id(&self) -> u16 {
        self.free.first()
    }

    #[inline]
    pub fn add(&mut self, spans: &[Span]) {
        let id = self.free.take();
        let count = spans.len();
        self.counts[usize::from(id)] = count as u16;
        self.untold += count as u16;
        let first = usize::from(self.available.position) * size_of::<Desc>();
        let mut first_flags = DescF::empty();
        for (number, span) in spans.iter().enumerate() {
            // 2.8.1: available is what has the flags apart, the first as the wrap counter.
            let mut flags = if self.available.wrap { DescF::AVAIL } else { DescF::USED };
            if span.writable {
                flags |= DescF::WRITE;
            }
            if number + 1 < count {
                flags |= DescF::NEXT;
            }
            let offset = usize::from(self.available.position) * size_of::<Desc>();
            // SAFETY: the position is below the size, and the descriptor is the driver's: as many as are
            // written were free. Its flags make it the device's, the first one's all of them.
            unsafe {
                let descriptor = self.shared.at::<Desc>(offset).as_ptr();
                (&raw mut (*descriptor).addr).write_volatile(le64::from_ne(span.physical));
                (&raw mut (*descriptor).len).write_volatile(le32::from_ne(span.length));
                (&raw mut (*descriptor).id).write_volatile(le16::from_ne(id));
            }
            if number == 0 {
                first_flags = flags;
            } else {
                self.shared.word(offset + FLAGS).store(flags.bits().to_ne().to_le(), Relaxed);
            }
            self.available.advance(1, self.size);
        }
        // 2.8.21.1: all else before the flags of the first.
        self.shared.word(first + FLAGS).store(first_flags.bits().to_ne().to_le(), Release);
    }

    #[inline]
    pub fn has_used(&self) -> bool {
        let offset = usize::from(self.used.position) * size_of::<Desc>();
        // Before the rest of the descriptor (2.8.22).
        let flags = u16::from_le(self.shared.word(offset + FLAGS).load(Acquire));
        let both = DescF::AVAIL.bits().to_ne() | DescF::USED.bits().to_ne();
        flags & both == if self.used.wrap { both } else { 0 }
    }

    /// What is used at the next place. It is passed only by [`Packed::release`].
    #[inline]
    pub fn used(&mut self) -> Result<(u32, u32), &'static str> {
        let offset = usize::from(self.used.position) * size_of::<Desc>();
        // SAFETY: inside the ring; any bytes are a number.
        unsafe {
            let descriptor = self.shared.at::<Desc>(offset).as_ptr();
            let length = (&raw const (*descriptor).len).read_volatile();
            let id = (&raw const (*descriptor).id).read_volatile();
            Ok((id.to_ne().into(), length.to_ne()))
        }
    }

    /// Makes the descriptors of a buffer free, and its ID.
    #[inline]
    pub fn release(&mut self, id: u16) {
        self.used.advance(self.counts[usize::from(id)], self.size);
        self.free.give(id);
    }

    #[inline]
    pub fn needs_notification(&mut self) -> bool {
        let added = core::mem::take(&mut self.untold);
        if added == 0 {
            return false;
        }
        // 2.8.21.3.1: descriptors before a look at what the device wants to know.
        fence(SeqCst);
        let offset = device_offset(self.size);
        let flags = u16::from_le(self.shared.word(offset + 2).load(Acquire)) & 3;
        if flags == RingEventFlags::Desc as u16 {
            let event = u16::from_le(self.shared.word(offset).load(Relaxed));
            let mut position = event & 0x7fff;
            // Counted as if the ring began anew where the driver has passed its end.
            if (event >> 15 != 0) != self.available.wrap {
                position = position.wrapping_sub(self.size);
            }
            let new = self.available.position;
            passes(position, new, new.wrapping_sub(added))
        } else {
            flags != RingEventFlags::Disable as u16
        }
    }

    #[inline]
    pub fn enable_interrupt(&mut self) {
        let offset = driver_offset(self.size);
        let mut flags = RingEventFlags::Enable;
        if self.event_index {
            let place = EventSuppressDesc::new()
                .with_desc_event_off(self.used.position)
                .with_desc_event_wrap(u8::from(self.used.wrap));
            self.shared.word(offset).store(le16::from(place).to_ne().to_le(), Relaxed);
            flags = RingEventFlags::Desc;
        }
        self.shared.word(offset + 2).store((flags as u16).to_le(), Release);
        // Before the look at whether it has come too late (2.8.10).
        fence(SeqCst);
    }

    #[inline]
    pub fn disable_interrupt(&mut self) {
        self.shared
            .word(driver_offset(self.size) + 2)
            .store((RingEventFlags::Disable as u16).to_le(), Relaxed);
    }
}

const fn driver_offset(size: u16) -> usize {
    size_of::<Desc>() * size as usize
}

const fn device_offset(size: u16) -> usize {
    driver_offset(size) + 4
}
