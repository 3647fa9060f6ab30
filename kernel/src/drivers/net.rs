//! Network cards: virtio-net (Virtual I/O Device version 1.2, section 5.1).
//!
//! A card has pairs of queues, each with one user, who polls it and is woken by its interrupt. Received frames
//! are used where the device has put them, and frames to send are made where it takes them from.

mod control;
pub mod headers;
mod receive;
mod sizes;
#[cfg(test)]
mod tests;
mod transmit;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::sync::atomic::AtomicU32;

use virtio::Id;
use virtio::net::{F, Hdr, S};

pub use self::receive::{Received, Receiver};
use self::sizes::{SMALL, Sizes};
use self::transmit::Pool;
pub use self::transmit::Transmitter;
use crate::debug::{Level, Line};
use crate::device::virtio::transport::{Refusal, Transport};
use crate::device::virtio::{self as device, Device};
use crate::device::wake::{Wake, Wakes};
use crate::mm::blocks::FRAME;
use crate::mm::frames;
use crate::sched;

/// Bytes in front of each frame that tell about it.
const HEADER: usize = size_of::<Hdr>();

/// Offsets in the configuration (5.1.4).
const MAC: usize = 0;
const STATUS: usize = 6;
const MAX_PAIRS: usize = 8;
const MTU: usize = 10;

/// The MTU of a card that does not say.
const ETHERNET_MTU: u16 = 1500;
/// The smallest that IPv4 works with (RFC 791).
const SMALLEST_MTU: u16 = 68;
/// Pairs of queues, at most.
const MOST_PAIRS: u32 = 8;
/// The largest frame that a device cuts into segments: an IP packet of the largest size.
const LARGEST: usize = headers::ETHERNET + 65535;

/// What the device does to frames on their way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums of TCP and UDP are filled in, for packets that are no fragments and have no IPv6 extension headers.
    pub checksum: bool,
    /// Large segments of TCP over IPv4 are cut.
    pub tcpv4: bool,
    /// Large segments of TCP over IPv6 are cut.
    pub tcpv6: bool,
}

/// A network card.
#[derive(Debug)]
pub struct Card {
    /// Its address.
    pub mac: [u8; 6],
    /// The longest IP packet that it sends without cutting.
    pub mtu: u16,
    /// What it does to frames.
    pub offloads: Offloads,
    /// The longest frame that can be given to it, Ethernet header included.
    pub largest_frame: usize,
    /// Its queues.
    pub pairs: Vec<Pair>,
    device: &'static Device,
    wakes: &'static Wakes,
}

/// A receive queue and a transmit queue.
#[derive(Debug)]
pub struct Pair {
    /// What comes in.
    pub receiver: Receiver,
    /// What goes out.
    pub transmitter: Transmitter,
    wake: &'static Wake,
}

/// Every network card of the machine, brought up. One that cannot be used is told of. Called once.
#[must_use]
pub fn cards() -> Vec<Card> {
    let mut cards = Vec::new();
    for transport in device::find(Id::Net) {
        match Card::new(transport) {
            Ok(card) => {
                card.log();
                cards.push(card);
            }
            Err(why) => device::refuse(transport, why),
        }
    }
    cards
}

const fn bit(feature: F) -> u64 {
    feature.bits().to_ne() as u64
}

/// What is made use of.
const KNOWN: u64 = bit(F::CSUM)
    | bit(F::GUEST_CSUM)
    | bit(F::MTU)
    | bit(F::MAC)
    | bit(F::GUEST_TSO4)
    | bit(F::GUEST_TSO6)
    | bit(F::HOST_TSO4)
    | bit(F::HOST_TSO6)
    | bit(F::MRG_RXBUF)
    | bit(F::STATUS)
    | bit(F::CTRL_VQ)
    | bit(F::MQ);

const GUEST_TSO: u64 = bit(F::GUEST_TSO4) | bit(F::GUEST_TSO6);
const HOST_TSO: u64 = bit(F::HOST_TSO4) | bit(F::HOST_TSO6);

/// The MTU that a device gives, if it makes sense.
fn mtu(transport: &dyn Transport, features: u64) -> Option<u16> {
    let told = features & bit(F::MTU) != 0;
    told.then(|| transport.word(MTU)).filter(|mtu| *mtu >= SMALLEST_MTU)
}

/// Leaves out what something is missing for (5.1.3.1), or what would cost more than it brings.
fn choose(transport: &dyn Transport, mut features: u64, large: bool) -> u64 {
    let mut needs = |feature: u64, missing: bool| {
        if missing {
            features &= !feature;
        }
        features
    };
    let offered = needs(0, false);
    let lacks = |feature: F| offered & bit(feature) == 0;
    // Without mergeable buffers each of them would have to hold 64 KiB.
    needs(GUEST_TSO, lacks(F::GUEST_CSUM) || lacks(F::MRG_RXBUF));
    needs(HOST_TSO, lacks(F::CSUM) || !large);
    needs(bit(F::MQ), lacks(F::CTRL_VQ));
    // Taken, it would have to be kept to (5.1.4.2).
    needs(bit(F::MTU), mtu(transport, offered).is_none())
}

/// What is decided about a card before its queues are made.
struct Plan {
    pairs: u16,
    mtu: u16,
    sizes: Sizes,
}

impl Card {
    fn new(transport: &'static dyn Transport) -> Result<Card, Refusal> {
        // Whether there is memory for large segments has to be known before they are agreed on.
        let mut large = Pool::new(HEADER + LARGEST, 1);
        let mut device = Device::begin(transport, KNOWN, |transport, offered| {
            choose(transport, offered, large.is_some())
        })?;
        let plan = Plan::new(&device);
        let wakes: &'static Wakes = Box::leak(Box::new(Wakes::new(plan.pairs)));
        let connected = device.connect(wakes);
        let device: &'static Device = Box::leak(Box::new(device));
        connected
            .and_then(|()| Card::with_queues(device, &plan, wakes, &mut large))
            .inspect_err(|_| device.give_up())
    }

    fn with_queues(
        device: &'static Device,
        plan: &Plan,
        wakes: &'static Wakes,
        large: &mut Option<Pool>,
    ) -> Result<Card, Refusal> {
        const MEMORY: Refusal =
            "memory is short for its buffers; give the machine more (-m, --memory)";
        let has = |feature: F| device.features() & bit(feature) != 0;
        let frame = headers::ETHERNET + VLAN_TAG + usize::from(plan.mtu);
        let mut pairs = Vec::new();
        for (number, wake) in (0..).zip(&wakes.parts) {
            let (queue, doorbell) = device.queue(2 * number, plan.sizes.queue, number)?;
            let mergeable = has(F::MRG_RXBUF);
            let size = match mergeable {
                true => plan.sizes.receive,
                false => whole_frames(Receiver::room(frame)).max(plan.sizes.receive),
            };
            let receiver = Receiver::new(queue, doorbell, device, mergeable, size).ok_or(MEMORY)?;
            let (queue, doorbell) = device.queue(2 * number + 1, plan.sizes.queue, number)?;
            let small = Pool::new(whole_frames(HEADER + frame), plan.sizes.small).ok_or(MEMORY)?;
            let large = match device.features() & HOST_TSO {
                0 => None,
                _ => Some(
                    large
                        .take()
                        .or_else(|| Pool::new(HEADER + LARGEST, 1))
                        .ok_or(MEMORY)?
                        .with_most(plan.sizes.large),
                ),
            };
            pairs.push(Pair {
                receiver,
                transmitter: Transmitter::new(queue, doorbell, device, has(F::CSUM), small, large),
                wake,
            });
        }
        let control = match plan.pairs {
            1 => None,
            // Behind all queues that the device could have (5.1.2).
            _ => Some(device.queue(2 * max_pairs(device), 2, 0)?),
        };
        device.start()?;
        if let Some((mut queue, doorbell)) = control {
            control::set_pairs(&mut queue, &doorbell, plan.pairs)?;
        }
        // Buffers to receive into were given before the device could be told of them.
        pairs.iter_mut().for_each(|pair| pair.receiver.flush());
        Ok(Card {
            mac: address(device)?,
            mtu: plan.mtu,
            offloads: Offloads {
                checksum: has(F::CSUM),
                tcpv4: has(F::HOST_TSO4),
                tcpv6: has(F::HOST_TSO6),
            },
            largest_frame: match device.features() & HOST_TSO {
                0 => headers::ETHERNET + usize::from(plan.mtu),
                _ => LARGEST,
            },
            pairs,
            device,
            wakes,
        })
    }

    /// Adds what the card is called in messages.
    pub fn describe(&self, line: &mut Line) {
        self.device.transport().describe(line);
    }

    /// Whether something about the card may have changed since the last question: time to ask [`Card::link_up`]. Its
    /// first pair is woken then.
    #[inline]
    pub fn take_change(&self) -> bool {
        self.wakes.take_change()
    }

    /// True while a cable is plugged in, so to speak, and the card works. The question leaves the virtual machine.
    #[must_use]
    pub fn link_up(&self) -> bool {
        let tells = self.device.features() & bit(F::STATUS) != 0;
        self.device.works()
            && (!tells || self.device.transport().word(STATUS) & S::LINK_UP.bits().to_ne() != 0)
    }

    fn log(&self) {
        Line::log(Level::Info, |line| {
            self.describe(line);
            line.text(": network card ");
            for (number, byte) in self.mac.iter().enumerate() {
                line.text(if number > 0 { ":" } else { "" });
                for digit in [byte >> 4, byte & 15] {
                    line.bytes(&[b"0123456789abcdef"[usize::from(digit)]]);
                }
            }
            line.text(", MTU ").number(self.mtu.into());
            line.text(", queues ").number(2 * self.pairs.len() as u64);
            line.text(", features ").hex(self.device.features());
        });
    }
}

/// Bytes that a tag for a virtual network puts into a frame.
const VLAN_TAG: usize = 4;

/// A size for buffers that hold `length` bytes: [`SMALL`], or else whole frames of memory.
const fn whole_frames(length: usize) -> usize {
    if length <= SMALL { SMALL } else { length.next_multiple_of(FRAME) }
}

/// Pairs of queues that the device could have (5.1.4).
fn max_pairs(device: &Device) -> u16 {
    match device.features() & bit(F::MQ) {
        0 => 1,
        _ => device.transport().word(MAX_PAIRS).clamp(1, 0x8000),
    }
}

impl Plan {
    fn new(device: &Device) -> Plan {
        let pairs = match max_pairs(device) {
            1 => 1,
            // One for each processor.
            most => most.min(sched::processors().clamp(1, MOST_PAIRS) as u16),
        };
        Plan {
            pairs,
            mtu: mtu(device.transport(), device.features()).unwrap_or(ETHERNET_MTU),
            sizes: Sizes::of(frames::total() * FRAME, pairs.into()),
        }
    }
}

/// The card's address: the device's, or else one that nobody else should have (IEEE 802, 8.4).
fn address(device: &Device) -> Result<[u8; 6], Refusal> {
    if device.features() & bit(F::MAC) != 0 {
        let read =
            |transport: &dyn Transport| core::array::from_fn(|byte| transport.byte(MAC + byte));
        return Ok(device.configuration(read));
    }
    let mut mac = [0; 6];
    crate::random::fill(&mut mac)
        .map_err(|_| "it has no address, and no source of random numbers can make one")?;
    mac[0] = mac[0] & !1 | 2;
    Ok(mac)
}

impl Pair {
    /// The next received frame, in place; given back to the device when dropped.
    #[inline]
    pub fn receive(&mut self) -> Option<Received<'_>> {
        self.receiver.receive()
    }

    /// As [`Transmitter::can_transmit`].
    #[inline]
    pub fn can_transmit(&mut self) -> bool {
        self.transmitter.can_transmit()
    }

    /// As [`Transmitter::transmit`].
    #[inline]
    pub fn transmit<R>(
        &mut self,
        length: usize,
        segment: Option<NonZeroU16>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        self.transmitter.transmit(length, segment, fill)
    }

    /// Tells the device of everything that was queued, if it asks for that.
    #[inline]
    pub fn flush(&mut self) {
        if let Some(bell) = self.transmitter.bell() {
            bell.ring();
        }
        self.receiver.flush();
    }

    /// Lets the device interrupt when a frame has come in, or, after [`Pair::can_transmit`] was false, when one has
    /// gone out. False when that has happened already: interrupts stay off then.
    pub fn enable_interrupt(&mut self) -> bool {
        self.flush();
        if !self.transmitter.enable_interrupt() {
            return false;
        }
        if !self.receiver.enable_interrupt() {
            self.transmitter.disable_interrupt();
            return false;
        }
        true
    }

    /// Asks the device not to interrupt.
    pub fn disable_interrupt(&mut self) {
        self.receiver.disable_interrupt();
        self.transmitter.disable_interrupt();
    }

    /// Sets the word that this pair's interrupt counts up, and wakes.
    pub fn set_wake(&mut self, word: &'static AtomicU32) {
        self.wake.set(word);
    }
}
