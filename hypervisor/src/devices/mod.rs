//! Virtio devices over MMIO (Virtual I/O Device version 1.2, section 4.2).
//!
//! A processor's thread answers for the registers alone. Each device has threads of its own, which wait for
//! the queues' events (ioeventfd) and the other end's, and interrupt by an event as well (irqfd): once a
//! device runs, nothing takes a processor out of the guest to the monitor.

pub mod block;
pub mod channel;
pub mod entropy;
pub mod link;
pub mod mmio;
pub mod net;
mod parts;
pub mod passt;
pub mod queue;
pub mod tap;
pub mod vsock;

use anyhow::Result;
use kvm_ioctls::VmFd;

use crate::memory::Memory;
use mmio::Mmio;
use queue::Device;

/// Where the devices' registers are, a page each.
const BASE: u64 = 0xd000_0000;
const STRIDE: u64 = 0x1000;
/// The interrupt line of the first; those below are a PC's own.
const LINE: u32 = 5;
/// The most devices: as many as the interrupt controller has lines from there on, but for the last.
const MOST: u64 = 18;
/// The interrupt line of all devices for what is not a buffer.
const TROUBLE: u32 = 23;

/// All devices of a machine.
#[derive(Default)]
pub struct Bus {
    devices: Vec<Mmio>,
}

impl Bus {
    /// Adds a device, whose threads begin at once and wait for the guest. Gives the kernel's option that
    /// tells of it.
    pub fn add(
        &mut self,
        vm: &VmFd,
        memory: &Memory,
        device: Device,
        jail: bool,
    ) -> Result<String> {
        let number = self.devices.len() as u64;
        anyhow::ensure!(number < MOST, "a machine has at most {MOST} devices");
        let (base, line) = (BASE + number * STRIDE, LINE + number as u32);
        let device = Mmio::new(memory, device.0, device.1, jail)?;
        device.connect(vm, base, line, TROUBLE)?;
        self.devices.push(device);
        Ok(format!("virtio_mmio.device=0x200@{base:#x}:{line}"))
    }

    fn find(&self, address: u64) -> Option<(&Mmio, u64)> {
        let offset = address.checked_sub(BASE)?;
        let device = self.devices.get((offset / STRIDE) as usize)?;
        Some((device, offset % STRIDE))
    }

    /// Answers a read; all ones where there is no device.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((device, offset)) = self.find(address) {
            device.read(offset, data);
        }
    }

    /// Takes a write.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((device, offset)) = self.find(address) {
            device.write(offset, data);
        }
    }
}

#[cfg(test)]
mod tests {
    //! A driver for the tests of devices.

    use std::time::{Duration, Instant};

    use anyhow::{Context, ensure};
    use virtio_queue::desc::split::Descriptor;
    use vm_memory::{Bytes, GuestAddress};

    use super::*;

    /// How many buffers a queue of the driver's has.
    const SIZE: u64 = 16;
    /// What a queue and its buffers take, and where in that the rings and the first buffer are.
    const QUEUE: u64 = 0x2_0000;
    const AVAILABLE: u64 = 0x1000;
    const USED: u64 = 0x2000;
    const BUFFERS: u64 = 0x3000;

    /// A device, driven through its registers.
    pub(super) struct Driver {
        pub memory: Memory,
        device: Mmio,
        made: Vec<u16>,
    }

    /// A part of a request: what the device reads, or how much it may write.
    pub(super) enum Part<'a> {
        Read(&'a [u8]),
        Write(u32),
        /// Whatever descriptor.
        Raw(u64, u32, u16),
    }

    impl Driver {
        /// Sets a device up (3.1.1) with `features` beside version 1.
        pub fn new((model, workers): Device, features: u64) -> Result<Driver> {
            let queues = model.queues;
            let memory = Memory::new(2 << 20, false)?;
            let device = Mmio::new(&memory, model, workers, false)?;
            let made = vec![0; queues];
            let mut driver = Driver { memory, device, made };
            driver.begin(features)?;
            Ok(driver)
        }

        /// Sets it up, again after [`reset`](Self::reset).
        pub fn begin(&mut self, features: u64) -> Result<()> {
            self.begin_with(features, [0, AVAILABLE, USED])
        }

        /// The same, with other places for rings and descriptors.
        fn begin_with(&mut self, features: u64, places: [u64; 3]) -> Result<()> {
            self.set(0x70, 3);
            for (half, bits) in [(0, features as u32), (1, 1 | (features >> 32) as u32)] {
                self.set(0x24, half);
                self.set(0x20, bits);
            }
            self.set(0x70, 11);
            for number in 0..self.made.len() as u64 {
                let at = (number + 1) * QUEUE;
                self.set(0x30, number as u32);
                self.set(0x38, SIZE as u32);
                for (offset, place) in [0x80, 0x90, 0xa0].into_iter().zip(places) {
                    self.set(offset, (at + place) as u32);
                    self.set(offset + 4, 0);
                }
                let nothing = [0; 0x3000];
                self.memory.write(&nothing, at)?;
                self.set(0x44, 1);
            }
            self.made.fill(0);
            self.set(0x70, 15);
            ensure!(self.get(0x70) == 15, "the device does not begin");
            Ok(())
        }

        pub fn reset(&self) {
            self.set(0x70, 0);
        }

        pub fn get(&self, offset: u64) -> u32 {
            let mut bytes = [0xff; 4];
            self.device.read(offset, &mut bytes);
            u32::from_le_bytes(bytes)
        }

        fn set(&self, offset: u64, value: u32) {
            self.device.write(offset, &value.to_le_bytes());
        }

        /// Gives the device a request; gives its number, and where its buffers are.
        pub fn give(&mut self, queue: usize, parts: &[Part<'_>]) -> Result<(u16, u64)> {
            let at = (queue as u64 + 1) * QUEUE;
            let number = self.made[queue];
            let first = u64::from(number) * parts.len() as u64 % SIZE;
            let start = at + BUFFERS + u64::from(number) % 4 * 0x4000;
            let mut place = start;
            for (index, part) in (0..).zip(parts) {
                let (address, length, flags) = match part {
                    Part::Read(bytes) => {
                        self.memory.write(bytes, place)?;
                        (place, bytes.len() as u32, 0)
                    }
                    Part::Write(length) => (place, *length, 2),
                    Part::Raw(address, length, flags) => (*address, *length, *flags),
                };
                place += u64::from(length.min(0x3000));
                let more = u16::from(index + 1 < parts.len() as u64);
                let here = (first + index) % SIZE;
                let next = (here + 1) % SIZE;
                let descriptor = Descriptor::new(address, length, flags | more, next as u16);
                let map = self.memory.map();
                map.write_obj(descriptor, GuestAddress(at + 16 * here))?;
            }
            let slot = at + AVAILABLE + 4 + 2 * (u64::from(number) % SIZE);
            self.memory.write(&(first as u16).to_le_bytes(), slot)?;
            self.made[queue] = number.wrapping_add(1);
            let made = self.made[queue].to_le_bytes();
            self.memory.write(&made, at + AVAILABLE + 2)?;
            self.set(0x50, queue as u32);
            Ok((number, start))
        }

        /// Whether the device has given a request back, and how many bytes it has written.
        pub fn used(&self, queue: usize, number: u16) -> Option<u32> {
            let at = (queue as u64 + 1) * QUEUE + USED;
            let map = self.memory.map();
            let used = map.read_obj::<u16>(GuestAddress(at + 2)).ok()?;
            let slot = at + 4 + 8 * (u64::from(number) % SIZE) + 4;
            let done = used.wrapping_sub(number).cast_signed() > 0;
            done.then(|| map.read_obj(GuestAddress(slot)).ok()).flatten()
        }

        /// Waits until a request is given back.
        pub fn wait(&self, queue: usize, number: u16) -> Result<u32> {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(10) && self.get(0x70) == 15 {
                if let Some(length) = self.used(queue, number) {
                    return Ok(length);
                }
                std::thread::yield_now();
            }
            None.context("the request does not come back")
        }

        /// A request from its beginning to its end; gives what was written, which is behind what was to be read.
        pub fn request(&mut self, queue: usize, parts: &[Part<'_>]) -> Result<Vec<u8>> {
            let (number, mut start) = self.give(queue, parts)?;
            let length = self.wait(queue, number)?;
            for part in parts {
                if let Part::Read(bytes) = part {
                    start += bytes.len() as u64;
                }
            }
            let mut bytes = vec![0; length as usize];
            let map = self.memory.map();
            map.read_slice(&mut bytes, GuestAddress(start))?;
            Ok(bytes)
        }
    }

    #[test]
    fn a_device_is_reset_whose_queue_never_ends() -> Result<()> {
        let mut driver = Driver::new(entropy::source(), 0)?;
        driver.reset();
        // Where the device says that it need not be told is what the driver has given.
        driver.begin_with(0, [0, AVAILABLE - 2, AVAILABLE])?;
        driver.set(0x50, 0);
        let start = Instant::now();
        let used = GuestAddress(QUEUE + AVAILABLE + 2);
        while driver.memory.map().read_obj::<u16>(used)? == 0 {
            ensure!(start.elapsed() < Duration::from_secs(10), "the device does not begin");
        }
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            driver.reset();
            tell.send(driver.get(0x70))
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(0));
        Ok(())
    }
}
