//! What a device's own code sees of virtio: queues, and how to interrupt.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

use crate::memory::Memory;

/// Buffers were used.
pub const USED: u32 = 1;
/// The configuration has changed, or the device needs a reset.
pub const CONFIGURATION: u32 = 2;

/// A device's interrupt: a level that stays up until the driver has acknowledged everything (4.2.3.3).
#[derive(Debug)]
pub struct Interrupt {
    /// What it is for, until that is acknowledged.
    pub status: AtomicU32,
    /// The device works no more until it is reset.
    pub broken: AtomicBool,
    /// Raises the line.
    pub line: EventFd,
    /// Told when the guest's interrupt controller is done with it.
    pub done: EventFd,
}

impl Interrupt {
    /// Tells the driver.
    pub fn raise(&self, reason: u32) {
        self.status.fetch_or(reason, SeqCst);
        let _ = self.line.write(1);
    }

    /// The controller is done: raises the line again when there is more to tell.
    pub fn again(&self) {
        let _ = self.done.read();
        if self.status.load(SeqCst) != 0 {
            let _ = self.line.write(1);
        }
    }
}

/// What a worker runs with, when the driver has set its device up.
#[derive(Debug)]
pub struct Active {
    /// The guest's memory.
    pub memory: Memory,
    /// What was agreed on.
    pub features: u64,
    /// Its queues. One that the driver does not use is never ready.
    pub queues: Vec<Queue>,
    /// Told when the driver has put something into the queue at the same place.
    pub kicks: Vec<EventFd>,
    /// How to interrupt.
    pub interrupt: Arc<Interrupt>,
    /// Readable when the driver resets the device: the worker has to stop.
    pub stop: EventFd,
}

/// A part of a device's work, which has a thread of its own.
pub trait Worker: Send + std::fmt::Debug {
    /// Runs until it is to stop.
    fn run(&mut self, active: &mut Active) -> std::io::Result<()>;
}

/// The workers of a device. The first one always runs, another one when all its queues are ready.
pub type Workers = Vec<Box<dyn Worker>>;

/// A device as its driver sees it.
#[derive(Clone, Debug)]
pub struct Model {
    /// What kind it is (section 5).
    pub id: u32,
    /// What it offers, beside what the transport does.
    pub features: u64,
    /// Its configuration.
    pub configuration: Vec<u8>,
    /// How many queues it has.
    pub queues: usize,
    /// The queues of a worker, by its number, with what was agreed on.
    pub share: fn(&Model, usize, u64) -> Vec<usize>,
}

/// An event as something to wait for.
#[must_use]
pub fn descriptor(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: open as long as the event is borrowed.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

/// The largest size of a queue.
pub const SIZE: u16 = 256;

impl Active {
    /// Gives a buffer back into which `length` bytes were written; true when the driver wants to know.
    pub fn give(&mut self, queue: usize, head: u16, length: u32) -> bool {
        let memory = self.memory.map();
        let queue = &mut self.queues[queue];
        queue.add_used(memory, head, length).is_ok()
            && queue.needs_notification(memory).unwrap_or(true)
    }

    /// Gives several buffers back at once: the driver sees all of them or none.
    pub fn give_all(&mut self, queue: usize, buffers: &[(u16, u32)]) -> bool {
        /// Flags and index are in front of the ring (2.7.8).
        const RING: u64 = 4;
        let Some(((head, length), before)) = buffers.split_last() else {
            return false;
        };
        let memory = self.memory.map();
        let ring = self.queues[queue].used_ring();
        let size = self.queues[queue].size();
        for (head, length) in before {
            let next = self.queues[queue].next_used();
            let element = (u64::from(*length) << 32 | u64::from(*head)).to_le_bytes();
            let place = ring + RING + 8 * u64::from(next % size.max(1));
            if memory.write_slice(&element, GuestAddress(place)).is_err() {
                return false;
            }
            self.queues[queue].set_next_used(next.wrapping_add(1));
        }
        // The queue counts only this one when it looks whether the driver wants to know.
        self.give(queue, *head, *length) || !before.is_empty()
    }

    /// Whether the driver has put something into a queue since it was asked to tell. From now on it tells.
    pub fn enable(&mut self, queue: usize) -> bool {
        self.queues[queue]
            .enable_notification(self.memory.map())
            .unwrap_or(false)
    }

    /// The driver need not tell.
    pub fn disable(&mut self, queue: usize) {
        let _ = self.queues[queue].disable_notification(self.memory.map());
    }
}
