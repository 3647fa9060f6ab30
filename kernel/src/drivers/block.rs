//! Disks: virtio-blk (Virtual I/O Device version 1.2, section 5.2).
//!
//! A disk is bytes at positions. What begins or ends inside of a sector is read around it; writing it changes the
//! sector as a whole, and nobody else writes meanwhile. Long pieces are several requests at once.

mod gate;
mod requests;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use virtio::Id;
use virtio::blk::{F, T};

use self::gate::Gate;
use self::requests::Requests;
use crate::debug::{Level, Line};
use crate::device::virtio::transport::{Refusal, Transport};
use crate::device::virtio::{self as device, Device};
use crate::device::wake::Wakes;
use crate::mm::frames::{self, FRAME};
use crate::{Error, Result};

/// Bytes of what the protocol calls a sector, whatever the disk has.
const SECTOR: u64 = 512;

/// Offsets in the configuration (5.2.4).
const CAPACITY: usize = 0;
const SIZE_MAX: usize = 8;
const BLOCK_SIZE: usize = 20;

/// Descriptors of the queue, at most.
const DESCRIPTORS: u16 = 64;

const fn bit(feature: F) -> u64 {
    feature.bits().to_ne() as u64
}

/// What is made use of.
const KNOWN: u64 = bit(F::SIZE_MAX) | bit(F::RO) | bit(F::BLK_SIZE) | bit(F::FLUSH);

/// A disk.
#[derive(Debug)]
pub struct Disk {
    device: &'static Device,
    requests: &'static Requests,
    wakes: &'static Wakes,
    /// Bytes that it holds: whole sectors of its own.
    capacity: AtomicU64,
    /// Bytes of a sector of its own.
    sector: u64,
    gate: Gate,
}

/// Every disk of the machine, brought up. One that cannot be used is told of. Called once.
#[must_use]
pub fn disks() -> Vec<&'static Disk> {
    let mut disks = Vec::new();
    for transport in device::find(Id::Block) {
        match Disk::new(transport) {
            Ok(disk) => {
                disk.log();
                disks.push(&*Box::leak(Box::new(disk)));
            }
            Err(why) => device::refuse(transport, why),
        }
    }
    disks
}

/// Bytes of data in a request and requests at once, at most, with so many bytes of memory.
const fn sizes(memory: usize) -> (usize, usize) {
    match memory >> 20 {
        0..16 => (16 << 10, 2),
        16..48 => (64 << 10, 4),
        _ => (64 << 10, 16),
    }
}

impl Disk {
    fn new(transport: &'static dyn Transport) -> Result<Disk, Refusal> {
        let mut device = Device::begin(transport, KNOWN, |_, offered| offered)?;
        let wakes: &'static Wakes = Box::leak(Box::new(Wakes::new(1)));
        let connected = device.connect(wakes);
        let device: &'static Device = Box::leak(Box::new(device));
        connected.and_then(|()| Disk::with_queue(device, wakes)).inspect_err(|_| device.give_up())
    }

    fn with_queue(device: &'static Device, wakes: &'static Wakes) -> Result<Disk, Refusal> {
        let has = |feature: F| device.features() & bit(feature) != 0;
        let sector = match has(F::BLK_SIZE) {
            true => device.transport().long(BLOCK_SIZE).into(),
            false => SECTOR,
        };
        let (mut room, most) = sizes(frames::total() * FRAME);
        if has(F::SIZE_MAX) {
            room = room.min(device.transport().long(SIZE_MAX) as usize);
        }
        if !sector.is_power_of_two() || sector < SECTOR || sector > room as u64 {
            return Err("its sectors are of a size that cannot be");
        }
        let room = room & !(sector as usize - 1);
        let (queue, doorbell) = device.queue(0, DESCRIPTORS, 0)?;
        let requests = Requests::new(device, queue, doorbell, room, most)
            .ok_or("memory is short for its buffers; give the machine more (-m, --memory)")?;
        let requests: &'static Requests = Box::leak(Box::new(requests));
        wakes.parts[0].set(requests.events());
        device.start()?;
        let disk = Disk {
            device,
            requests,
            wakes,
            capacity: AtomicU64::new(0),
            sector,
            gate: Gate::new(),
        };
        disk.measure();
        Ok(disk)
    }

    /// Asks the device how large it is. More sectors than there are bytes for are cut off.
    fn measure(&self) {
        let sectors = self.device.configuration(|transport| {
            u64::from(transport.long(CAPACITY)) | u64::from(transport.long(CAPACITY + 4)) << 32
        });
        let bytes = sectors.min(i64::MAX as u64 / SECTOR) * SECTOR;
        self.capacity.store(bytes & !(self.sector - 1), Relaxed);
    }

    /// Bytes that it holds. They may become more or less while the machine runs.
    pub fn capacity(&self) -> u64 {
        if self.wakes.take_change() {
            self.measure();
        }
        self.capacity.load(Relaxed)
    }

    /// True when it can only be read.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.device.features() & bit(F::RO) != 0
    }

    /// Reads as much as there is from a position on; 0 at the end.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceFailed`] when the device cannot read it, or is out of use.
    pub fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize> {
        let rest = self.capacity().saturating_sub(position);
        let length = rest.min(buffer.len() as u64);
        if length == 0 {
            return Ok(0);
        }
        let end = position + length;
        let all = position & !(self.sector - 1)..end.next_multiple_of(self.sector);
        let (done, result) = self.transfer(all.clone(), T::In, &mut |data, at| {
            // The first request may begin before the buffer does, the last one end behind its end.
            let (from, to) = (position.max(at), end.min(at + data.len() as u64));
            let data = &data[(from - at) as usize..(to - at) as usize];
            buffer[(from - position) as usize..][..data.len()].copy_from_slice(data);
        });
        let read = (all.start + done).min(end).saturating_sub(position);
        self.count(read, result)
    }

    /// Writes at a position, as much as there is room for.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`]; [`Error::NoSpace`] at the end; [`Error::DeviceFailed`] when the device cannot write it,
    /// or is out of use.
    pub fn write_at(&self, bytes: &[u8], position: u64) -> Result<usize> {
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let rest = self.capacity().saturating_sub(position);
        if rest == 0 {
            return Err(Error::NoSpace);
        }
        let length = rest.min(bytes.len() as u64);
        let bytes = &bytes[..length as usize];
        let end = position + length;
        if (position | end) & (self.sector - 1) == 0 {
            let (done, result) = self.gate.pass(|| self.write_whole(bytes, position));
            return self.count(done, result);
        }
        let (done, result) = self.gate.alone(|| self.write_parts(bytes, position));
        self.count(done, result)
    }

    /// Brings what was written to where it lasts.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceFailed`].
    pub fn flush(&self) -> Result<()> {
        // Without this feature what is written lasts (5.2.6.2).
        if self.device.features() & bit(F::FLUSH) == 0 || self.is_read_only() {
            return Ok(());
        }
        let slot = self.requests.take()?;
        let number = self.requests.start(slot, T::Flush, 0, 0);
        let (slot, result) = self.requests.finish(number)?;
        self.requests.give(slot);
        result.inspect_err(|error| self.complain(*error, "flush", 0))
    }

    /// What a call gives: the bytes that were done, if there are any.
    fn count(&self, done: u64, result: Result<()>) -> Result<usize> {
        match result {
            Err(error) if done == 0 => Err(error),
            _ => Ok(done as usize),
        }
    }

    /// Writes whole sectors.
    fn write_whole(&self, bytes: &[u8], position: u64) -> (u64, Result<()>) {
        let all = position..position + bytes.len() as u64;
        self.transfer(all, T::Out, &mut |data, at| {
            data.copy_from_slice(&bytes[(at - position) as usize..][..data.len()]);
        })
    }

    /// Writes bytes that begin or end inside of a sector: what is around them is read first.
    fn write_parts(&self, bytes: &[u8], position: u64) -> (u64, Result<()>) {
        let end = position + bytes.len() as u64;
        let mut at = position;
        while at < end {
            let start = at & !(self.sector - 1);
            let to = if at == start && end - at >= self.sector {
                end & !(self.sector - 1)
            } else {
                (start + self.sector).min(end)
            };
            let part = &bytes[(at - position) as usize..(to - position) as usize];
            let (done, result) = if at == start && to - at >= self.sector {
                self.write_whole(part, at)
            } else {
                match self.write_inside(part, at - start, start) {
                    Ok(()) => (part.len() as u64, Ok(())),
                    Err(error) => (0, Err(error)),
                }
            };
            at += done;
            if result.is_err() {
                return (at - position, result);
            }
        }
        (end - position, Ok(()))
    }

    /// Changes bytes inside of the sector that begins at `start`.
    fn write_inside(&self, bytes: &[u8], offset: u64, start: u64) -> Result<()> {
        let all = start..start + self.sector;
        let mut sector = Vec::new();
        sector.try_reserve_exact(self.sector as usize).map_err(|_| Error::OutOfMemory)?;
        self.transfer(all.clone(), T::In, &mut |data, _| {
            sector.extend_from_slice(data);
        })
        .1?;
        sector[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        self.transfer(all, T::Out, &mut |data, _| data.copy_from_slice(&sector)).1
    }

    /// Reads or writes whole sectors, as several requests at once where memory allows. `each` is given the data of
    /// each request and its position: before it is written, or when it was read. Tells how many bytes from the start
    /// on were done, and why no more.
    fn transfer(
        &self,
        all: Range<u64>,
        kind: T,
        each: &mut dyn FnMut(&mut [u8], u64),
    ) -> (u64, Result<()>) {
        let requests = self.requests;
        let mut under_way = VecDeque::new();
        let mut next = all.start;
        let mut done = 0;
        let mut result = Ok(());
        loop {
            while next < all.end && result.is_ok() {
                let slot = match requests.take_now() {
                    // Who waits for a buffer has none, so that somebody can always go on.
                    None if under_way.is_empty() => requests.take(),
                    None => break,
                    Some(slot) => Ok(slot),
                };
                let room_under_way = under_way.try_reserve(1).is_ok();
                let mut slot = match slot {
                    Ok(slot) if room_under_way => slot,
                    Ok(slot) => {
                        requests.give(slot);
                        result = Err(Error::OutOfMemory);
                        break;
                    }
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                };
                let length = (slot.data().len() as u64).min(all.end - next);
                if kind == T::Out {
                    each(&mut slot.data()[..length as usize], next);
                }
                let number = requests.start(slot, kind, next / SECTOR, length as usize);
                under_way.push_back((number, next, length));
                next += length;
            }
            let Some((number, at, length)) = under_way.pop_front() else {
                return (done, result);
            };
            match requests.finish(number) {
                Ok((mut slot, answer)) => {
                    if let Err(error) = answer {
                        self.complain(error, if kind == T::In { "read" } else { "write" }, at);
                        result = result.and(Err(error));
                    } else if result.is_ok() {
                        if kind == T::In {
                            each(&mut slot.data()[..length as usize], at);
                        }
                        done += length;
                    }
                    requests.give(slot);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
    }

    /// Tells of a request that has failed.
    fn complain(&self, error: Error, what: &str, position: u64) {
        Line::log(Level::Error, |line| {
            self.device.transport().describe(line);
            line.text(match error {
                Error::Unsupported => ": the disk does not support a request to ",
                _ => ": the disk has failed to ",
            });
            line.text(what).text(" at byte ").number(position);
        });
    }

    fn log(&self) {
        Line::log(Level::Info, |line| {
            self.device.transport().describe(line);
            line.text(": disk, bytes ").number(self.capacity());
            line.text(", sectors of ").number(self.sector);
            line.text(if self.is_read_only() { ", read-only" } else { "" });
            line.text(", features ").hex(self.device.features());
        });
    }
}
