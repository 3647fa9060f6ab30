//! Requests to a disk: their memory, how they are given to the device, and how their end is waited for.
//!
//! Data is copied from and to memory that belongs to the device for good (decision 0101): it cannot write to what
//! belongs to the program, not even after it was put out of use with a request on its way.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use virtio::blk::{S, T};

use super::super::patience::Patience;
use super::{Device, FRAME};
use crate::device::dma::Chunk;
use crate::device::virtio::queue::{Buffer, Queue, Span};
use crate::device::virtio::transport::Doorbell;
use crate::sync::Lock;
use crate::{Error, Result, sched};

/// Bytes of a request's header: its kind, a reserved number, its sector (5.2.6).
const HEADER: usize = 16;
/// Bytes that are cut off for a header and the status behind it.
const HEAD: usize = 32;
/// A status that no device gives.
const NONE: u8 = 0xff;
/// Descriptors of a request, at most.
const PARTS: u16 = 3;

/// Memory for a request.
#[derive(Debug)]
pub struct Slot {
    number: usize,
    head: Chunk,
    data: Chunk,
}

impl Slot {
    /// The memory for its data.
    pub fn data(&mut self) -> &mut [u8] {
        &mut self.data
    }
}

/// What the device is given.
#[derive(Debug)]
pub struct Request {
    slot: Slot,
    length: u32,
    /// The device writes the data.
    reads: bool,
}

/// Up to three parts.
#[derive(Debug)]
pub struct Spans {
    all: [Span; PARTS as usize],
    count: usize,
}

impl AsRef<[Span]> for Spans {
    fn as_ref(&self) -> &[Span] {
        &self.all[..self.count]
    }
}

// SAFETY: the spans are inside of the slot's chunks, which are nobody else's, for good.
unsafe impl Buffer for Request {
    type Spans = Spans;

    fn spans(&self) -> Spans {
        let span = |physical, length, writable| Span { physical, length, writable };
        let head = self.slot.head.physical();
        let header = span(head, HEADER as u32, false);
        let status = span(head + HEADER as u64, 1, true);
        let data = span(self.slot.data.physical(), self.length, self.reads);
        match self.length {
            0 => Spans { all: [header, status, status], count: 2 },
            _ => Spans { all: [header, data, status], count: 3 },
        }
    }
}

/// Where the memory of a request is.
#[derive(Debug)]
enum Place {
    /// Nobody uses it.
    Free(Slot),
    /// A thread or the device has it.
    Away,
    /// The device has done with it, and nobody has looked.
    Done(Slot, Result<()>),
}

#[derive(Debug)]
struct State {
    queue: Queue<Request>,
    doorbell: Doorbell,
    /// By the slots' numbers.
    places: Vec<Place>,
    /// Heads for slots that are not made yet.
    heads: Chunk,
    /// Slots, at most.
    most: usize,
    /// Bytes of data in a slot.
    room: usize,
    /// The device is out of use.
    dead: bool,
}

/// The queue of a disk.
#[derive(Debug)]
pub struct Requests {
    device: &'static Device,
    state: Lock<State>,
    /// Counts interrupts, and whatever else may end a wait.
    events: AtomicU32,
}

impl Requests {
    /// Requests with `room` bytes of data, at most `most` at once. `None` when memory is short.
    pub fn new(
        device: &'static Device,
        queue: Queue<Request>,
        doorbell: Doorbell,
        room: usize,
        most: usize,
    ) -> Option<Requests> {
        let mut state = State {
            most: most.min((queue.size() / PARTS).into()),
            queue,
            doorbell,
            places: Vec::new(),
            heads: Chunk::new(FRAME)?,
            room,
            dead: false,
        };
        state.places.try_reserve_exact(state.most).ok()?;
        let slot = state.make()?;
        let number = slot.number;
        state.places[number] = Place::Free(slot);
        Some(Requests { device, state: Lock::new(state), events: AtomicU32::new(0) })
    }

    /// The word that interrupts count up.
    pub const fn events(&self) -> &AtomicU32 {
        &self.events
    }

    /// Memory for a request, if there is some now.
    pub fn take_now(&self) -> Option<Slot> {
        let mut state = self.state.lock();
        state.take()
    }

    /// Memory for a request. Waits until there is some: for those who have none.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceFailed`] when the device is out of use.
    pub fn take(&self) -> Result<Slot> {
        self.wait(State::take)
    }

    /// Gives memory back.
    pub fn give(&self, slot: Slot) {
        let number = slot.number;
        self.state.lock().places[number] = Place::Free(slot);
        self.changed();
    }

    /// Gives a request to the device; [`Requests::finish`] waits for the one with this number.
    pub fn start(&self, mut slot: Slot, kind: T, sector: u64, length: usize) -> usize {
        let number = slot.number;
        slot.head[..4].copy_from_slice(&u32::from(kind).to_le_bytes());
        slot.head[4..8].fill(0);
        slot.head[8..HEADER].copy_from_slice(&sector.to_le_bytes());
        slot.head[HEADER] = NONE;
        let request = Request { slot, length: length as u32, reads: kind == T::In };
        let mut state = self.state.lock();
        let given = match state.dead {
            true => Err(request),
            // There are as many descriptors as slots need: only a queue that is out of use has none.
            false => state.queue.add(request),
        };
        match given {
            Ok(()) if state.queue.needs_notification() => state.doorbell.ring(),
            Ok(()) => {}
            Err(request) => {
                state.places[number] = Place::Done(request.slot, Err(Error::DeviceFailed));
            }
        }
        number
    }

    /// Waits for the end of a request: its memory, and what has come of it.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceFailed`] when the device is out of use, and has the memory still.
    pub fn finish(&self, number: usize) -> Result<(Slot, Result<()>)> {
        self.wait(|state| match core::mem::replace(&mut state.places[number], Place::Away) {
            Place::Done(slot, result) => Some((slot, result)),
            other => {
                state.places[number] = other;
                None
            }
        })
    }

    /// Tells those who wait that there is something to look at.
    fn changed(&self) {
        self.events.fetch_add(1, SeqCst);
        sched::futex::wake(&self.events, usize::MAX);
    }

    /// Looks until there is something.
    fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> Result<T> {
        let mut patience = Patience::default();
        loop {
            let before = self.events.load(SeqCst);
            let mut state = self.state.lock();
            let (others, fault) = state.collect();
            let found = look(&mut state);
            let dead = state.dead;
            // What is used from now on interrupts.
            let again = found.is_none() && !dead && !state.queue.enable_interrupt();
            drop(state);
            if let Some(why) = fault {
                self.device.put_out(why);
            }
            if others {
                self.changed();
            }
            match found {
                Some(found) => return Ok(found),
                None if dead => return Err(Error::DeviceFailed),
                None if again => continue,
                None => {}
            }
            if !patience.wait(self.device, &self.events, before) {
                self.state.lock().dead = true;
                self.changed();
            }
        }
    }
}

impl State {
    /// Memory for a request, made when there is none that is free.
    fn take(&mut self) -> Option<Slot> {
        let free = |place: &&mut Place| matches!(place, Place::Free(_));
        if let Some(place) = self.places.iter_mut().find(free)
            && let Place::Free(slot) = core::mem::replace(place, Place::Away)
        {
            return Some(slot);
        }
        self.make()
    }

    fn make(&mut self) -> Option<Slot> {
        if self.places.len() >= self.most {
            return None;
        }
        let mut data = Chunk::new(self.room)?;
        let slot = Slot {
            number: self.places.len(),
            head: self.heads.take_front(HEAD)?,
            // Of whole frames, it may be longer than what the device takes.
            data: data.take_front(self.room)?,
        };
        self.places.push(Place::Away);
        Some(slot)
    }

    /// Takes back what the device has done with: whether it was anything, and what is wrong with the device, once.
    fn collect(&mut self) -> (bool, Option<&'static str>) {
        let mut any = false;
        let mut fault = None;
        while let Some((request, written)) = self.queue.used() {
            any = true;
            let status = request.slot.head[HEADER];
            let result = match S::try_from(status) {
                Ok(S::Ok) if request.reads && written < request.length => {
                    fault = Some("it says that it has read less than it was asked for");
                    Err(Error::DeviceFailed)
                }
                Ok(S::Ok) => Ok(()),
                Ok(S::Ioerr) => Err(Error::DeviceFailed),
                Ok(S::Unsupp) => Err(Error::Unsupported),
                _ => {
                    fault = Some("it has ended a request with a status that is none");
                    Err(Error::DeviceFailed)
                }
            };
            let number = request.slot.number;
            self.places[number] = Place::Done(request.slot, result);
        }
        let fault = fault.or_else(|| self.queue.fault()).filter(|_| !self.dead);
        self.dead |= fault.is_some();
        (any || fault.is_some(), fault)
    }
}
