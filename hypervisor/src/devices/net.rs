//! A network card (section 5.1) whose other end is a TAP device.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, poll};
use virtio_queue::QueueT;
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap};

use super::queue::{Active, USED, Worker, descriptor};
use super::tap::{self, HEADER};

const NET: u32 = 1;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const MAC: u64 = 1 << 5;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const MERGEABLE: u64 = 1 << 15;

/// The longest frame: an IP packet of 64 KiB with both headers.
const LONGEST: usize = HEADER + 18 + 65536;
/// Where a frame's header tells how many buffers it has taken.
const BUFFERS: usize = 10;
/// Parts of a frame that are sent at once.
const PARTS: usize = 64;

/// A card.
#[derive(Debug)]
pub struct Net {
    tap: File,
    mac: [u8; 6],
}

impl Net {
    /// A card with an address that nobody else should have (IEEE 802, 8.4).
    ///
    /// # Errors
    ///
    /// When the host has no random numbers.
    pub fn new(tap: File) -> io::Result<Net> {
        let mut mac = [0; 6];
        // SAFETY: writes to the array.
        let got = unsafe { libc::getrandom(mac.as_mut_ptr().cast(), mac.len(), 0) };
        if got != mac.len() as isize {
            return Err(io::Error::last_os_error());
        }
        mac[0] = mac[0] & !1 | 2;
        Ok(Net { tap, mac })
    }

    /// Moves frames from the host to the guest until one of them has none, or no room. `held` is a frame that
    /// there was no room for. Gives whether the guest is to be told.
    fn receive(&mut self, active: &mut Active, held: &mut Frame) -> io::Result<bool> {
        let mut tell = false;
        loop {
            if held.length == 0 {
                match self.tap.read(&mut held.bytes) {
                    Ok(length) => held.length = length,
                    Err(error) if would_wait(&error) => return Ok(tell),
                    Err(error) => return Err(error),
                }
            }
            held.seen = available(active);
            match deliver(active, held) {
                Some(wants) => tell |= wants,
                None => return Ok(tell),
            }
            held.length = 0;
        }
    }

    /// Moves frames from the guest to the host. Gives whether the guest is to be told.
    fn transmit(&mut self, active: &mut Active) -> io::Result<bool> {
        let mut tell = false;
        loop {
            active.disable(TRANSMIT);
            while let Some(chain) =
                active.queues[TRANSMIT].pop_descriptor_chain(active.memory.shared())
            {
                let head = chain.head_index();
                self.send(active.memory.map(), chain.readable())?;
                tell |= active.give(TRANSMIT, head, 0);
            }
            if !active.enable(TRANSMIT) {
                return Ok(tell);
            }
        }
    }

    /// Sends a frame from where it is. One that is not in the guest's memory, or that the host does not take, is
    /// lost, as on a cable.
    fn send(
        &self,
        memory: &GuestMemoryMmap,
        parts: impl Iterator<Item = virtio_queue::desc::split::Descriptor>,
    ) -> io::Result<()> {
        let mut slices = Vec::with_capacity(4);
        for part in parts {
            match memory.get_slice(part.addr(), part.len() as usize) {
                Ok(slice) if slices.len() < PARTS => slices.push(slice),
                _ => return Ok(()),
            }
        }
        let guards = slices
            .iter()
            .map(vm_memory::VolatileSlice::ptr_guard)
            .collect::<Vec<_>>();
        let parts = guards.iter().map(|guard| libc::iovec {
            iov_base: guard.as_ptr().cast_mut().cast(),
            iov_len: guard.len(),
        });
        let parts = parts.collect::<Vec<_>>();
        loop {
            // SAFETY: reads the parts, which are in the guest's memory; what the guest does to them meanwhile is
            // its own affair.
            let sent = unsafe {
                libc::writev(
                    self.tap.as_raw_fd(),
                    parts.as_ptr(),
                    parts.len() as libc::c_int,
                )
            };
            if sent >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // The interface is gone.
                Some(libc::EBADFD) => return Err(error),
                _ => return Ok(()),
            }
        }
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
fn deliver(active: &mut Active, frame: &mut Frame) -> Option<bool> {
    let mergeable = active.features & MERGEABLE != 0;
    let before = active.queues[RECEIVE].next_avail();
    let mut chains = Vec::with_capacity(1);
    let mut room = 0;
    while room < frame.length {
        let memory = active.memory.shared();
        let Some(chain) = active.queues[RECEIVE].pop_descriptor_chain(memory) else {
            if usize::from(active.queues[RECEIVE].size()) <= chains.len() {
                break;
            }
            active.queues[RECEIVE].set_next_avail(before);
            return None;
        };
        let length = chain
            .clone()
            .writable()
            .map(|part| part.len() as usize)
            .sum::<usize>();
        room += length;
        chains.push((chain, length));
        if !mergeable {
            break;
        }
    }
    let fits = room >= frame.length;
    let count = chains.len() as u16;
    frame.bytes[BUFFERS..BUFFERS + 2].copy_from_slice(&count.to_le_bytes());
    let mut rest = &frame.bytes[..frame.length];
    let mut used = Vec::with_capacity(chains.len());
    for (chain, length) in chains {
        let head = chain.head_index();
        let (part, after) = rest.split_at(if fits { length.min(rest.len()) } else { 0 });
        rest = after;
        let written = match chain.writer(active.memory.map()) {
            Ok(mut writer) => writer.write_all(part).map_or(0, |()| part.len()),
            Err(_) => 0,
        };
        used.push((head, written as u32));
    }
    Some(active.give_all(RECEIVE, &used))
}

fn would_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl Worker for Net {
    fn id(&self) -> u32 {
        NET
    }

    fn features(&self) -> u64 {
        CSUM | GUEST_CSUM | MAC | GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6 | MERGEABLE
    }

    fn configuration(&self) -> Vec<u8> {
        self.mac.to_vec()
    }

    fn queues(&self) -> usize {
        2
    }

    fn run(&mut self, active: &mut Active) -> io::Result<()> {
        let offloads = [
            (GUEST_CSUM, tap::CHECKSUM),
            (GUEST_TSO4, tap::SEGMENTS_V4),
            (GUEST_TSO6, tap::SEGMENTS_V6),
        ];
        let agreed = offloads
            .iter()
            .filter(|(feature, _)| active.features & feature != 0);
        tap::set_offloads(&self.tap, agreed.fold(0, |all, (_, offload)| all | offload))?;
        let mut held = Frame {
            bytes: vec![0; LONGEST].into(),
            length: 0,
            seen: 0,
        };
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
            tell |= self.transmit(active)?;
            if tell {
                active.interrupt.raise(USED);
            }
            wait(self, active, full)?;
        }
    }
}

/// Waits for something to do; the error is that the device is to stop.
fn wait(net: &Net, active: &Active, full: bool) -> io::Result<()> {
    let events = [
        &active.kicks[RECEIVE],
        &active.kicks[TRANSMIT],
        &active.interrupt.done,
        &active.stop,
    ];
    let events = events.map(descriptor);
    let tap = net.tap.as_fd();
    let mut ready = Vec::with_capacity(5);
    ready.extend(events.iter().map(|event| PollFd::new(event, PollFlags::IN)));
    if !full {
        ready.push(PollFd::new(&tap, PollFlags::IN));
    }
    match poll(&mut ready, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_ready = ready
        .iter()
        .map(|event| !event.revents().is_empty())
        .collect::<Vec<_>>();
    for (number, kick) in active.kicks.iter().enumerate() {
        if is_ready[number] {
            let _ = kick.read();
        }
    }
    if is_ready[2] {
        active.interrupt.again();
    }
    if is_ready[3] {
        return Err(io::Error::other("its driver has reset it"));
    }
    Ok(())
}
