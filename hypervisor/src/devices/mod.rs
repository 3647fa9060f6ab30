//! Virtio devices over MMIO (Virtual I/O Device version 1.2, section 4.2).
//!
//! A processor's thread answers for the registers alone. Each device has threads of its own, which wait for
//! the queues' events (ioeventfd) and the other end's, and interrupt by an event as well (irqfd): once a
//! device runs, no packet takes a processor out of the guest to the monitor, but the acknowledgement of an
//! interrupt.

pub mod link;
pub mod mmio;
pub mod net;
pub mod passt;
pub mod queue;
pub mod tap;

use anyhow::Result;
use kvm_ioctls::VmFd;

use crate::memory::Memory;
use mmio::Mmio;
use queue::{Model, Workers};

/// Where the devices' registers are, a page each.
const BASE: u64 = 0xd000_0000;
const STRIDE: u64 = 0x1000;
/// The interrupt line of the first; those below are a PC's own.
const LINE: u32 = 5;
/// The most devices: as many as the interrupt controller has lines from there on.
const MOST: u64 = 18;

/// All devices of a machine.
#[derive(Debug, Default)]
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
        device: (Model, Workers),
        jail: bool,
    ) -> Result<String> {
        let number = self.devices.len() as u64;
        anyhow::ensure!(number < MOST, "a machine has at most {MOST} devices");
        let (base, line) = (BASE + number * STRIDE, LINE + number as u32);
        let device = Mmio::new(memory, device.0, device.1, jail)?;
        device.connect(vm, base, line)?;
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
