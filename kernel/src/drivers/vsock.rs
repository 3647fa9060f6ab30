//! Socket devices: virtio-vsock (Virtual I/O Device version 1.2, section 5.10).
//!
//! A device carries packets between the machine and its host. What they mean is for [`crate::vsock`].

mod header;
mod pool;

use alloc::boxed::Box;

use virtio::Id;
use virtio::vsock::F;

pub use self::header::{Header, SIZE};
use self::pool::{Incoming, Outgoing, Pool};
use crate::debug::{Level, Line};
use crate::device::dma::Chunk;
use crate::device::virtio::queue::Queue;
use crate::device::virtio::transport::{Doorbell, Refusal, Transport};
use crate::device::virtio::{self as device, Device};
use crate::device::wake::Wakes;
use crate::mm::blocks::FRAME;
use crate::mm::frames;

/// The places of the queues (5.10.2).
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const EVENTS: u16 = 2;

/// Descriptors of a queue for packets.
const QUEUE: u16 = 128;
/// Buffers for packets without payload, on their way out: what fits into a frame.
const SMALL: usize = 64;
/// Buffers for events, and bytes in each.
const EVENT_BUFFERS: usize = 4;
const EVENT: usize = 4;

/// Bytes and counts of buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    /// Bytes of a buffer to receive into, and how many there are.
    receive: (usize, usize),
    /// Bytes of a buffer to send from, and how many there are at most.
    transmit: (usize, usize),
}

impl Sizes {
    /// For a machine with so many bytes of memory: all together at most an eightieth of it, from 16 MiB on.
    const fn of(memory: usize) -> Sizes {
        match memory >> 20 {
            0..48 => Sizes { receive: (FRAME, 16), transmit: (FRAME, 16) },
            _ => Sizes { receive: (2 * FRAME, 48), transmit: (8 * FRAME, 8) },
        }
    }
}

/// A packet that was received, in place.
#[derive(Debug)]
pub struct Packet {
    /// Its header.
    pub header: Header,
    buffer: Incoming,
}

impl Packet {
    /// What it carries.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.0[SIZE..SIZE + self.header.length as usize]
    }
}

/// A socket device.
#[derive(Debug)]
pub struct Card {
    device: &'static Device,
    wakes: &'static Wakes,
    receive: (Queue<Incoming>, Doorbell),
    transmit: (Queue<Outgoing>, Doorbell),
    events: (Queue<Incoming>, Doorbell),
    small: Pool,
    large: Pool,
    /// Somebody waits until a packet can be sent.
    blocked: bool,
    failed: bool,
}

/// The machine's socket device, brought up. One that cannot be used is told of. Called once.
#[must_use]
pub fn card() -> Option<Card> {
    for transport in device::find(Id::Vsock) {
        match Card::new(transport) {
            Ok(card) => return Some(card),
            Err(why) => device::refuse(transport, why),
        }
    }
    None
}

const fn bit(feature: F) -> u64 {
    feature.bits().to_ne() as u64
}

impl Card {
    /// Brings a device up.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn new(transport: &'static dyn Transport) -> Result<Card, Refusal> {
        let mut device = Device::begin(transport, bit(F::STREAM), |_, offered| offered)?;
        let wakes: &'static Wakes = Box::leak(Box::new(Wakes::new(1)));
        let connected = device.connect(wakes);
        let device: &'static Device = Box::leak(Box::new(device));
        connected.and_then(|()| Card::with_queues(device, wakes)).inspect_err(|_| device.give_up())
    }

    fn with_queues(device: &'static Device, wakes: &'static Wakes) -> Result<Card, Refusal> {
        const MEMORY: Refusal =
            "memory is short for its buffers; give the machine more (-m, --memory)";
        let sizes = Sizes::of(frames::total() * FRAME);
        let mut receive = device.queue(RECEIVE, QUEUE, 0)?;
        let mut events = device.queue(EVENTS, EVENT_BUFFERS as u16, 0)?;
        let (size, count) = sizes.receive;
        for _ in 0..count {
            match Chunk::new(size).and_then(|mut chunk| chunk.take_front(size)) {
                // A queue may be shorter than wanted: the rest of the memory is given up.
                Some(chunk) if receive.0.free() > 0 => _ = receive.0.add(Incoming(chunk)),
                _ => break,
            }
        }
        let mut frame = Chunk::zeroed(EVENT_BUFFERS * EVENT).ok_or(MEMORY)?;
        while events.0.free() > 0
            && let Some(chunk) = frame.take_front(EVENT)
        {
            let _ = events.0.add(Incoming(chunk));
        }
        if receive.0.free() == receive.0.size() {
            return Err(MEMORY);
        }
        let (size, count) = sizes.transmit;
        let mut card = Card {
            device,
            wakes,
            receive,
            transmit: device.queue(TRANSMIT, QUEUE, 0)?,
            events,
            small: Pool::new(SMALL, FRAME / SMALL).ok_or(MEMORY)?,
            large: Pool::new(size, count).ok_or(MEMORY)?,
            blocked: false,
            failed: false,
        };
        device.start()?;
        // Buffers were given before the device could be told of them.
        card.flush();
        Line::log(Level::Info, |line| {
            device.transport().describe(line);
            line.text(": sockets of the host, CID ").number(card.cid());
            line.text(", features ").hex(device.features());
        });
        Ok(card)
    }

    /// The machine's own address, by the device's configuration (5.10.4).
    #[must_use]
    pub fn cid(&self) -> u64 {
        self.device.configuration(|transport| {
            // In halves (4.2.2.2).
            u64::from(transport.long(0)) | u64::from(transport.long(4)) << 32
        })
    }

    /// False once the device is out of use.
    #[must_use]
    pub const fn works(&self) -> bool {
        !self.failed
    }

    #[cold]
    fn put_out(&mut self, why: &str) {
        self.failed = true;
        self.device.put_out(why);
    }

    /// The next packet that came in; to be given back by [`Card::give_back`].
    pub fn receive(&mut self) -> Option<Packet> {
        let Some((buffer, length)) = self.receive.0.used() else {
            if let Some(fault) = self.receive.0.fault() {
                self.put_out(fault);
            }
            return None;
        };
        let length = length as usize;
        let header = buffer.0.first_chunk().map(Header::decode);
        let Some(header) = header.filter(|_| length >= SIZE) else {
            self.put_out("it has received a packet without a header");
            return None;
        };
        if header.length as usize > length - SIZE {
            self.put_out("it says that a packet is longer than what it has received");
            return None;
        }
        Some(Packet { header, buffer })
    }

    /// Gives the buffer of a packet back to the device.
    pub fn give_back(&mut self, packet: Packet) {
        // It came out of the queue: only one that is out of use does not take it.
        let _ = self.receive.0.add(packet.buffer);
    }

    /// True when the host says that all connections are gone (5.10.6.7).
    pub fn take_reset(&mut self) -> bool {
        let mut reset = false;
        while let Some((buffer, length)) = self.events.0.used() {
            // The only event that there is has the number 0.
            reset |= length as usize >= EVENT && buffer.0[..EVENT] == [0; EVENT];
            let _ = self.events.0.add(buffer);
        }
        if let Some(fault) = self.events.0.fault() {
            self.put_out(fault);
        }
        reset
    }

    /// Whether the device's configuration has changed: it may have found an error in itself.
    pub fn look_after_change(&mut self) {
        if self.wakes.take_change() && !self.device.works() {
            self.failed = true;
        }
    }

    /// Takes back what the device has sent.
    fn reclaim(&mut self) {
        while let Some((Outgoing { chunk, .. }, _)) = self.transmit.0.used() {
            match chunk.len() {
                SMALL => self.small.free.push(chunk),
                _ => self.large.free.push(chunk),
            }
        }
        if let Some(fault) = self.transmit.0.fault() {
            self.put_out(fault);
        }
    }

    fn has_room(&mut self) -> bool {
        self.transmit.0.free() > 0 && self.large.is_ready()
    }

    /// Bytes that the next packet may carry; `None` when none can be sent now.
    pub fn room(&mut self) -> Option<usize> {
        if !self.has_room() {
            self.reclaim();
        }
        let has = self.has_room();
        self.blocked |= !has;
        has.then(|| self.large.size - SIZE)
    }

    /// Sends a packet with a payload no longer than [`Card::room`]. False when there is no room.
    pub fn send(&mut self, header: &Header, payload: &[u8]) -> bool {
        let total = SIZE + payload.len();
        if self.transmit.0.free() == 0 {
            self.reclaim();
        }
        let is_small = total <= SMALL && (self.small.is_ready() || !self.large.is_ready());
        let pool = if is_small { &mut self.small } else { &mut self.large };
        let fits = total <= pool.size && self.transmit.0.free() > 0 && pool.is_ready();
        let Some(mut chunk) = fits.then(|| pool.free.pop()).flatten() else {
            self.blocked = true;
            return false;
        };
        let header = Header { length: payload.len() as u32, ..*header };
        chunk[..SIZE].copy_from_slice(&header.encode());
        chunk[SIZE..total].copy_from_slice(payload);
        // A queue that is out of use loses it.
        let _ = self.transmit.0.add(Outgoing { chunk, length: total as u32 });
        true
    }

    /// What tells the device of packets that were sent, if it wants to know.
    pub fn bell(&mut self) -> Option<Doorbell> {
        let needs = self.transmit.0.needs_notification();
        needs.then_some(self.transmit.1)
    }

    /// Tells the device of buffers that were given back, if it wants to know.
    pub fn flush(&mut self) {
        for (queue, doorbell) in [&mut self.receive, &mut self.events] {
            if queue.needs_notification() {
                doorbell.ring();
            }
        }
    }

    /// True when the device has taken all packets.
    pub fn is_drained(&mut self) -> bool {
        self.reclaim();
        self.failed || self.transmit.0.free() == self.transmit.0.size()
    }

    /// Lets the device interrupt when something has come in, or, after there was no room, when a packet was sent.
    /// False when that has happened already.
    pub fn enable_interrupts(&mut self) -> bool {
        self.flush();
        let free = !self.blocked || self.transmit.0.enable_interrupt();
        let quiet = self.receive.0.enable_interrupt() && self.events.0.enable_interrupt();
        free && quiet || {
            self.disable_interrupts();
            self.failed
        }
    }

    /// Asks the device not to interrupt.
    pub fn disable_interrupts(&mut self) {
        self.receive.0.disable_interrupt();
        self.events.0.disable_interrupt();
        self.transmit.0.disable_interrupt();
    }

    /// True when somebody had to wait until a packet can be sent, and need not any more.
    pub fn take_unblocked(&mut self) -> bool {
        if self.blocked {
            self.reclaim();
            self.blocked = !self.has_room();
            return !self.blocked;
        }
        false
    }

    /// Sets the word that the interrupt counts up, and wakes.
    pub fn set_wake(&self, word: &'static core::sync::atomic::AtomicU32) {
        self.wakes.parts.iter().for_each(|wake| wake.set(word));
    }
}
