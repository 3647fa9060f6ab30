//! What a device's own code sees of virtio: queues, and how to interrupt.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

use crate::memory::Memory;

/// Buffers were used.
pub const USED: u32 = 1;

/// A device's interrupt: a level that stays up until the driver has acknowledged everything (4.2.3.3).
#[derive(Debug)]
pub struct Interrupt {
    /// What it is for, until that is acknowledged.
    pub status: AtomicU32,
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

/// What a device runs with, when its driver has set it up.
#[derive(Debug)]
pub struct Active {
    /// The guest's memory.
    pub memory: Memory,
    /// What was agreed on.
    pub features: u64,
    /// The queues.
    pub queues: Vec<Queue>,
    /// Told when the driver has put something into the queue of the same number.
    pub kicks: Vec<EventFd>,
    /// How to interrupt.
    pub interrupt: Arc<Interrupt>,
    /// Told when the driver resets the device: its thread has to end.
    pub stop: EventFd,
}

/// A kind of device.
pub trait Worker: Send + std::fmt::Debug {
    /// Its number (section 5).
    fn id(&self) -> u32;
    /// What it offers, beside what the transport does.
    fn features(&self) -> u64;
    /// Its configuration.
    fn configuration(&self) -> Vec<u8>;
    /// How many queues it has.
    fn queues(&self) -> usize;
    /// Runs until it is stopped.
    ///
    /// # Errors
    ///
    /// When the other end fails: the device does nothing from then on.
    fn run(&mut self, active: &mut Active) -> std::io::Result<()>;
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
