//! Split virtqueues (Virtual I/O Device version 1.2, section 2.7).

use core::sync::atomic::{
    AtomicU16, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst, fence,
};

use alloc::boxed::Box;
use virtio::virtq::{Desc, DescF};
use virtio::{le16, le32, le64};

use super::shared::Shared;
use super::{Areas, Free, Span, passes, table};

/// `VIRTQ_AVAIL_F_NO_INTERRUPT` and `VIRTQ_USED_F_NO_NOTIFY`.
const QUIET: u16 = 1;

/// An element of the used ring.
#[derive(Clone, Copy)]
#[repr(C)]
struct Used {
    id: le32,
    length: le32,
}

#[derive(Debug)]
pub struct Split {
    shared: Shared,
    size: u16,
    event_index: bool,
    /// Descriptors.
    free: Free,
    /// How many descriptors the buffer at this one has.
    counts: Box<[u16]>,
    /// Buffers that were made available, ever.
    available: u16,
    /// The same when the device was last told.
    told: u16,
    /// Used buffers that were taken back, ever.
    seen: u16,
}

impl Split {
    pub fn new(size: u16, event_index: bool) -> Option<Split> {
        let mut split = Split {
            shared: Shared::new(used_offset(size) + used_size(size))?,
            size,
            event_index,
            free: Free::new(size)?,
            counts: table(size, |_| 0)?,
            available: 0,
            told: 0,
            seen: 0,
        };
        split.disable_interrupt();
        Some(split)
    }

    pub fn areas(&self) -> Areas {
        let start = self.shared.physical();
        Areas {
            descriptors: start,
            driver: start + available_offset(self.size) as u64,
            device: start + used_offset(self.size) as u64,
        }
    }

    /// Fields of the available ring: flags, index, ring, `used_event`.
    #[inline]
    fn available_word(&self, number: usize) -> &AtomicU16 {
        self.shared.word(available_offset(self.size) + 2 * number)
    }

    /// Flags of the used ring, or its index.
    #[inline]
    fn used_word(&self, number: usize) -> &AtomicU16 {
        self.shared.word(used_offset(self.size) + 2 * number)
    }

    /// The position in a ring of what has this number.
    #[inline]
    fn position(&self, number: u16) -> usize {
        usize::from(number & (self.size - 1))
    }

    /// The number that the device will know the next buffer by.
    #[inline]
    pub const fn next_id(&self) -> u16 {
        self.free.first()
    }

    #[inline]
    pub fn add(&mut self, spans: &[Span]) {
        let head = self.free.first();
        self.counts[usize::from(head)] = spans.len() as u16;
        let mut left = spans.len();
        for span in spans {
            left -= 1;
            let number = self.free.take();
            let mut flags = DescF::empty();
            if span.writable {
                flags |= DescF::WRITE;
            }
            if left > 0 {
                flags |= DescF::NEXT;
            }
            let descriptor = Desc {
                addr: le64::from_ne(span.physical),
                len: le32::from_ne(span.length),
                flags,
                next: le16::from_ne(self.free.first()),
            };
            // SAFETY: the number is below the size; the device does not look at a free descriptor.
            unsafe { self.shared.at::<Desc>(usize::from(number) * 16).write_volatile(descriptor) };
        }
        let position = self.position(self.available);
        self.available_word(2 + position).store(head.to_le(), Relaxed);
        self.available = self.available.wrapping_add(1);
        // 2.7.13.2 and 2.7.13.3: descriptors and ring before the index.
        self.available_word(1).store(self.available.to_le(), Release);
    }

    /// How many used buffers were not taken back yet, by what the device says.
    #[inline]
    fn pending(&self) -> u16 {
        // Before the elements that it is about (2.7.14).
        u16::from_le(self.used_word(1).load(Acquire)).wrapping_sub(self.seen)
    }

    #[inline]
    pub fn has_used(&self) -> bool {
        self.pending() != 0
    }

    #[inline]
    pub fn used(&mut self) -> Result<(u32, u32), &'static str> {
        if self.pending() > self.size {
            return Err("it has used more buffers than there are");
        }
        let offset = used_offset(self.size) + 4 + 8 * self.position(self.seen);
        // SAFETY: inside the used ring; any bytes are an element.
        let used = unsafe { self.shared.at::<Used>(offset).read_volatile() };
        self.seen = self.seen.wrapping_add(1);
        Ok((used.id.to_ne(), used.length.to_ne()))
    }

    /// Makes the descriptors of a buffer free. The links between them are our own, not those that the device
    /// has seen.
    #[inline]
    pub fn release(&mut self, id: u16) {
        let count = self.counts[usize::from(id)];
        if count == 1 {
            self.free.give(id);
            return;
        }
        let mut last = id;
        for _ in 1..count {
            last = self.free.next[usize::from(last)];
        }
        self.free.next[usize::from(last)] = self.free.head;
        self.free.head = id;
    }

    #[inline]
    pub fn needs_notification(&mut self) -> bool {
        let (new, old) = (self.available, self.told);
        if new == old {
            return false;
        }
        self.told = new;
        // 2.7.13.4.1: the index before a look at what the device wants to know.
        fence(SeqCst);
        if self.event_index {
            let event = self.used_word(2 + 4 * usize::from(self.size)).load(Relaxed);
            passes(u16::from_le(event), new, old)
        } else {
            u16::from_le(self.used_word(0).load(Relaxed)) & QUIET == 0
        }
    }

    #[inline]
    pub fn enable_interrupt(&mut self) {
        if self.event_index {
            self.set_used_event(self.seen);
        } else {
            self.available_word(0).store(0, Relaxed);
        }
        // Before the look at whether it has come too late (2.7.7.1).
        fence(SeqCst);
    }

    #[inline]
    pub fn disable_interrupt(&mut self) {
        if self.event_index {
            // What has been passed already. The flags have to stay 0 (2.7.7.1).
            self.set_used_event(self.seen.wrapping_sub(1));
        } else {
            self.available_word(0).store(QUIET.to_le(), Relaxed);
        }
    }

    #[inline]
    fn set_used_event(&self, event: u16) {
        self.available_word(2 + usize::from(self.size)).store(event.to_le(), Relaxed);
    }
}

const fn available_offset(size: u16) -> usize {
    16 * size as usize
}

const fn used_offset(size: u16) -> usize {
    // Flags, index, the ring, `used_event`; then aligned as the used ring has to be (2.7).
    (available_offset(size) + 6 + 2 * size as usize).next_multiple_of(4)
}

const fn used_size(size: u16) -> usize {
    6 + 8 * size as usize
}
