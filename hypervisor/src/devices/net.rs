//! A network card (section 5.1): pairs of queues, each with a link to the host.

use std::io;
use std::sync::atomic::Ordering;

use rustix::event::PollFlags;
use rustix::rand::GetRandomFlags;
use virtio_queue::QueueT;

use super::link::{HEADER, Link};
use super::parts::Parts;
use super::passt::{self, Passt};
use super::queue::{Active, Chain, Device, Model, Worker, Workers};
use super::tap::{self, Tap};
use crate::jail::Call;
use crate::memory::Memory;

const NET: u32 = 1;

/// The places of a worker's queues.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const CONTROL: usize = 2;

const CSUM: u64 = 1 << 0;
/// The driver takes frames whose checksum is missing.
pub const GUEST_CSUM: u64 = 1 << 1;
/// The card tells how long a packet may be.
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
/// The driver takes large segments of TCP over IPv4.
pub const GUEST_TSO4: u64 = 1 << 7;
/// The driver takes large segments of TCP over IPv6.
pub const GUEST_TSO6: u64 = 1 << 8;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const MERGEABLE: u64 = 1 << 15;
const CONTROL_QUEUE: u64 = 1 << 17;
const MULTIQUEUE: u64 = 1 << 22;

/// The most pairs of queues.
pub const MOST_PAIRS: usize = 8;

/// The longest frame: an IP packet of 64 KiB with both headers.
const LONGEST: usize = HEADER + 18 + 65536;
/// Where a frame's header tells how many buffers it has taken.
const BUFFERS: usize = 10;

/// A pair of queues.
struct Pair {
    link: Box<dyn Link>,
    /// The first one's: the links of the others, and how many of them are in use.
    others: Vec<Tap>,
    used: usize,
}

/// A card on an interface of the host's, with a pair of queues for each of the interface's.
pub fn on_tap(taps: Vec<Tap>) -> io::Result<Device> {
    let offloads = CSUM | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6;
    let others = taps.iter().skip(1).map(Tap::try_clone);
    let others = others.collect::<io::Result<Vec<_>>>()?;
    let commands = if others.is_empty() { 0 } else { CONTROL_QUEUE | MULTIQUEUE };
    let model = model(offloads | commands, taps.len())?;
    let links = taps.into_iter().map(|tap| Box::new(tap) as Box<dyn Link>);
    Ok((model, workers(links, others)))
}

/// A card whose other end is passt.
pub fn on_passt(passt: Passt) -> io::Result<Device> {
    let link: Box<dyn Link> = Box::new(passt);
    Ok((model(MTU, 1)?, workers([link].into_iter(), Vec::new())))
}

fn workers(links: impl Iterator<Item = Box<dyn Link>>, mut others: Vec<Tap>) -> Workers {
    let pairs = links.map(|link| Pair { link, others: std::mem::take(&mut others), used: 0 });
    pairs.map(|pair| Box::new(pair) as Box<dyn Worker>).collect()
}

/// A card with an address that nobody else should have (IEEE 802, 8.4).
fn model(features: u64, pairs: usize) -> io::Result<Model> {
    let mut mac = [0; 6];
    rustix::rand::getrandom(&mut mac, GetRandomFlags::empty())?;
    mac[0] = mac[0] & !1 | 2;
    let mut configuration = mac.to_vec();
    // The status, which nobody reads, the number of pairs, the longest packet.
    configuration.extend([0, pairs as u16, passt::MTU].map(u16::to_le_bytes).as_flattened());
    Ok(Model {
        id: NET,
        features: features | MAC | MERGEABLE,
        configuration,
        queues: if pairs > 1 { 2 * pairs + 1 } else { 2 },
        share,
    })
}

/// The queues of a pair, and the one for commands (5.1.2).
fn share(model: &Model, pair: usize, features: u64) -> Vec<usize> {
    let mut queues = vec![2 * pair, 2 * pair + 1];
    if pair == 0 && features & CONTROL_QUEUE != 0 {
        queues.push(match features & MULTIQUEUE {
            0 => 2,
            _ => model.queues - 1,
        });
    }
    queues
}

impl Pair {
    /// Moves frames from the host to the guest until one of them has none, or no room. `held` is a frame that
    /// there was no room for. Gives whether the guest is to be told.
    fn receive(&mut self, active: &mut Active, held: &mut Frame) -> io::Result<bool> {
        let mut tell = false;
        loop {
            if held.length == 0 {
                match self.link.receive(&mut held.bytes) {
                    Ok(length) => held.length = length,
                    Err(error) if would_wait(&error) => return Ok(tell),
                    Err(error) => return Err(error),
                }
            }
            held.seen = available(active);
            match deliver(active, held)? {
                Some(wants) => tell |= wants,
                None => return Ok(tell),
            }
            held.length = 0;
        }
    }

    /// Moves frames from the guest to the host. Gives whether the guest is to be told, and whether the host has
    /// no room for more.
    fn transmit(&mut self, active: &mut Active) -> io::Result<(bool, bool)> {
        let mut tell = false;
        loop {
            active.disable(TRANSMIT);
            loop {
                if !self.link.has_room()? {
                    return Ok((tell, true));
                }
                let Some(frame) = active.next(TRANSMIT)? else {
                    break;
                };
                let head = frame.head_index();
                // One that is not in the guest's memory is lost, as on a cable.
                if let Some(parts) = Parts::of(&active.memory, frame.readable()) {
                    self.link.send(parts)?;
                }
                tell |= active.give(TRANSMIT, head, 0);
            }
            if !active.enable(TRANSMIT) {
                return Ok((tell, false));
            }
        }
    }

    /// Carries a command out.
    fn command(&mut self, memory: &Memory, command: &Chain) -> u32 {
        let (from, to) = (
            Parts::of(memory, command.clone().readable()),
            Parts::of(memory, command.clone().writable()),
        );
        let mut bytes = [0; 4];
        let read = from.is_some_and(|from| from.copy_to(&mut bytes) == bytes.len());
        let answer = [u8::from(!(read && self.obey(bytes)))];
        to.map_or(0, |to| to.copy_from(&answer) as u32)
    }

    /// Does the one thing that can be asked for: so many pairs from now on (5.1.6.5.6). Gives whether it could.
    fn obey(&mut self, command: [u8; 4]) -> bool {
        /// Class and command.
        const SET_PAIRS: [u8; 2] = [4, 0];
        let [class, what, low, high] = command;
        let pairs = usize::from(u16::from_le_bytes([low, high]));
        [class, what] == SET_PAIRS
            && (1..=self.others.len() + 1).contains(&pairs)
            && self.use_pairs(pairs)
    }

    fn use_pairs(&mut self, pairs: usize) -> bool {
        for (number, other) in self.others.iter().enumerate() {
            let wanted = number + 1 < pairs;
            if wanted != (number < self.used) && other.attach(wanted).is_err() {
                return false;
            }
        }
        self.used = pairs - 1;
        true
    }
}

/// A frame of the host's, with virtio's header.
struct Frame {
    bytes: Box<[u8]>,
    length: usize,
    /// How many buffers the driver had given when there was no room.
    seen: u16,
}

/// How many buffers to receive into the driver has ever given.
fn available(active: &Active) -> u16 {
    let index = active.queues[RECEIVE].avail_idx(active.memory.map(), Ordering::Acquire);
    index.map_or(0, |index| index.0)
}

/// Puts a frame into as many buffers as it needs; `None` when there are too few, which stay. One that has no room
/// in all buffers together is lost.
fn deliver(active: &mut Active, frame: &mut Frame) -> io::Result<Option<bool>> {
    let before = active.queues[RECEIVE].next_avail();
    let memory = active.memory.clone();
    let (mut chains, mut room) = (Vec::with_capacity(1), 0);
    while room < frame.length {
        let Some(chain) = active.next(RECEIVE)? else {
            if usize::from(active.queues[RECEIVE].size()) <= chains.len() {
                break;
            }
            active.queues[RECEIVE].set_next_avail(before);
            return Ok(None);
        };
        let head = chain.head_index();
        // What is not in the guest's memory has no room.
        let buffers = Parts::of(&memory, chain.writable()).unwrap_or_default();
        room += buffers.len();
        chains.push((head, buffers));
        if active.features & MERGEABLE == 0 {
            break;
        }
    }
    let count = chains.len() as u16;
    frame.bytes[BUFFERS..BUFFERS + 2].copy_from_slice(&count.to_le_bytes());
    let mut rest = if room < frame.length { &[] } else { &frame.bytes[..frame.length] };
    let used = chains.into_iter().map(|(head, buffers)| {
        let length = buffers.copy_from(rest);
        rest = &rest[length..];
        (head, length as u32)
    });
    Ok(Some(active.give_all(RECEIVE, &used.collect::<Vec<_>>())))
}

fn would_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Worker for Pair {
    fn calls(&self) -> &'static [Call] {
        &tap::CALLS
    }

    fn run(&mut self, active: &mut Active) -> io::Result<()> {
        if active.number == 0 {
            self.link.begin(active.features)?;
        }
        let mut held = Frame { bytes: vec![0; LONGEST].into(), length: 0, seen: 0 };
        loop {
            let mut tell = self.receive(active, &mut held)?;
            // Without room, the driver's next buffer is what to wait for.
            let full = held.length > 0;
            if full {
                active.enable(RECEIVE);
                if available(active) != held.seen {
                    continue;
                }
            } else {
                active.disable(RECEIVE);
            }
            let (wants, blocked) = self.transmit(active)?;
            tell |= wants;
            if tell {
                active.interrupt.tell();
            }
            if active.queues.len() > CONTROL {
                active.serve(CONTROL, |memory, command| self.command(memory, &command))?;
            }
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !full);
            flags.set(PollFlags::OUT, blocked);
            // Else an end that is gone would be reported again and again.
            let link = (!flags.is_empty()).then(|| (self.link.descriptor(), flags));
            if active.wait(link)?.is_none() {
                self.use_pairs(1);
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_for_commands_is_behind_all_others() -> io::Result<()> {
        let card = model(CONTROL_QUEUE | MULTIQUEUE, 4)?;
        assert_eq!((card.queues, &card.configuration[8..10]), (9, &[4, 0][..]));
        assert_eq!(share(&card, 0, CONTROL_QUEUE | MULTIQUEUE), [0, 1, 8]);
        assert_eq!(share(&card, 3, CONTROL_QUEUE | MULTIQUEUE), [6, 7]);
        // A driver that uses one pair only has it behind that one.
        assert_eq!(share(&card, 0, CONTROL_QUEUE), [0, 1, 2]);
        assert_eq!(share(&model(MAC, 1)?, 0, MAC), [0, 1]);
        Ok(())
    }
}
