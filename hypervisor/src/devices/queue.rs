//! What a device's own code sees of virtio: queues, and how to interrupt.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, poll};
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::jail;
use crate::memory::Memory;

/// The buffers of one request.
pub type Chain = DescriptorChain<Arc<GuestMemoryMmap>>;

/// A device's interrupts, which are edges: nothing has to be acknowledged (docs/boot-protocol.md).
pub struct Interrupt {
    /// The device works no more until it is reset.
    pub broken: AtomicBool,
    /// The driver resets it: whatever is in its queues, they are empty to its workers.
    pub resets: AtomicBool,
    /// Its own line: it has used buffers.
    pub used: EventFd,
    /// The line of all devices: it is broken.
    pub trouble: EventFd,
}

impl Interrupt {
    /// Tells the driver that buffers were used.
    pub fn tell(&self) {
        let _ = self.used.write(1);
    }

    /// Tells the driver that the device needs a reset.
    pub fn fail(&self) {
        self.broken.store(true, SeqCst);
        let _ = self.trouble.write(1);
        let _ = self.used.write(1);
    }
}

/// What a worker runs with, when the driver has set its device up.
pub struct Active {
    /// Which of the device's workers it is.
    pub number: usize,
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
pub trait Worker: Send {
    /// The system calls that it makes beside those of all devices.
    fn calls(&self) -> &'static [jail::Call] {
        &[]
    }

    /// Runs until it is to stop.
    fn run(&mut self, active: &mut Active) -> io::Result<()>;
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

/// A device: what its driver sees, and what does its work.
pub type Device = (Model, Workers);

/// An event that nobody has told of yet.
pub fn event() -> Result<EventFd> {
    EventFd::new(EFD_NONBLOCK).context("the host gives no eventfd")
}

/// An event as something to wait for.
pub fn descriptor(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: open as long as the event is borrowed.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

/// The largest size of a queue.
pub const SIZE: u16 = 256;

impl Active {
    /// The next request in a queue. A queue that breaks the rules is an error.
    pub fn next(&mut self, queue: usize) -> io::Result<Option<Chain>> {
        if self.interrupt.resets.load(SeqCst) {
            return Ok(None);
        }
        match self.queues[queue].iter(self.memory.shared()) {
            Ok(mut requests) => Ok(requests.next()),
            Err(virtio_queue::Error::QueueNotReady) => Ok(None),
            Err(error) => Err(io::Error::other(format!("its queue is broken: {error}"))),
        }
    }

    /// Lets `work` carry out what is in a queue, until nothing is. It gives how many bytes it has written.
    pub fn serve(
        &mut self,
        queue: usize,
        mut work: impl FnMut(&Memory, Chain) -> u32,
    ) -> io::Result<()> {
        let memory = self.memory.clone();
        loop {
            self.disable(queue);
            while let Some(request) = self.next(queue)? {
                let head = request.head_index();
                let written = work(&memory, request);
                if self.give(queue, head, written) {
                    self.interrupt.tell();
                }
            }
            if !self.enable(queue) {
                return Ok(());
            }
        }
    }

    /// Waits until the driver has put something into a queue, or `other` is ready for what is asked of it. Gives
    /// what it is ready for, `None` when the worker is to stop.
    pub fn wait(
        &self,
        other: Option<(BorrowedFd<'_>, PollFlags)>,
    ) -> io::Result<Option<PollFlags>> {
        let wait = |event| PollFd::from_borrowed_fd(descriptor(event), PollFlags::IN);
        let mut ready = vec![wait(&self.stop)];
        ready.extend(self.kicks.iter().map(wait));
        let own = ready.len();
        ready.extend(other.map(|(other, flags)| PollFd::from_borrowed_fd(other, flags)));
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (events, other) = ready.split_at(own);
        let is_ready = |event: &PollFd<'_>| !event.revents().is_empty();
        for (event, kick) in events[1..].iter().zip(&self.kicks) {
            if is_ready(event) {
                let _ = kick.read();
            }
        }
        let flags = other.first().map_or(PollFlags::empty(), PollFd::revents);
        Ok((!is_ready(&events[0])).then_some(flags))
    }

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
        let more = self.queues[queue].enable_notification(self.memory.map()).unwrap_or(false);
        more && !self.interrupt.resets.load(SeqCst)
    }

    /// The driver need not tell.
    pub fn disable(&mut self, queue: usize) {
        let _ = self.queues[queue].disable_notification(self.memory.map());
    }
}
