//! Virtio over MMIO (Virtual I/O Device version 1.2, section 4.2).

use alloc::boxed::Box;
use core::ptr::NonNull;

use virtio::mmio::{
    DeviceRegisters, DeviceRegistersVolatileFieldAccess, DeviceRegistersVolatileWideFieldAccess,
    MAGIC_VALUE,
};
use virtio::{DeviceStatus, Id, le16, le32, le64};
use volatile::VolatilePtr;

use super::options::Place;
use super::queue::Areas;
use super::transport::{Doorbell, Refusal, Transport, read_register};
use crate::arch::ioapic::Line;
use crate::arch::paging;
use crate::debug;
use crate::device::interrupt::{self, Source};
use crate::device::wake::{Wake, Wakes};

/// The register that tells of new buffers.
const NOTIFY: usize = 0x50;
const INTERRUPT_STATUS: usize = 0x60;
const INTERRUPT_ACKNOWLEDGE: usize = 0x64;
/// Of the interrupt status: the device's configuration has changed.
const CONFIGURATION_CHANGE: u32 = 1 << 1;
/// The device's own configuration.
const CONFIGURATION: usize = 0x100;

/// The protocol's version that this is about; 1 was before virtio 1.0.
const VERSION: u32 = 2;

/// Who makes devices whose interrupts are edges, so that used buffers need no look at the device: Skete's own monitor
/// (docs/boot-protocol.md).
const EDGES: u32 = u32::from_le_bytes(*b"SKET");
/// The line by which all of those tell of what is not a buffer.
const TROUBLE: u32 = 23;

/// A device by its registers.
#[derive(Debug)]
pub struct Mmio {
    registers: NonNull<u8>,
    base: usize,
    line: Line,
}

// SAFETY: registers of a device may be used by any processor; those who set up queues are one at a time.
unsafe impl Send for Mmio {}
// SAFETY: as above.
unsafe impl Sync for Mmio {}

/// What the registers at a place say.
pub enum Found {
    /// There is no device of the kind that was asked for.
    Nothing,
    /// There is one.
    Device(Mmio),
    /// There is one, which cannot be used.
    Refused(Mmio, Refusal),
}

impl Mmio {
    /// Looks for a device of this kind.
    pub fn at(place: Place, kind: Id) -> Found {
        // Registers and configuration are in one page each: places are at multiples of 512.
        let registers = paging::map_device(place.base)
            .and_then(|address| NonNull::new(address as *mut u8))
            .filter(|_| paging::map_device(place.base + CONFIGURATION).is_some());
        let Some(registers) = registers else {
            return Found::Nothing;
        };
        // The device holds it up until it is acknowledged (4.2.3.3).
        let line = Line { number: place.line, level: true, low: false };
        let mut device = Mmio { registers, base: place.base, line };
        let all = device.all();
        if all.magic_value().read() != MAGIC_VALUE || all.device_id().read() != kind {
            return Found::Nothing;
        }
        let (version, vendor) = (all.version().read().to_ne(), all.vendor_id().read().to_ne());
        device.line.level = vendor != EDGES;
        if version != VERSION {
            return Found::Refused(
                device,
                "it speaks only the protocol before virtio 1.0 (QEMU: -global virtio-mmio.force-legacy=off)",
            );
        }
        Found::Device(device)
    }

    fn all(&self) -> VolatilePtr<'_, DeviceRegisters> {
        // SAFETY: mapped, for good, as what they are.
        unsafe { VolatilePtr::new(self.registers.cast()) }
    }

    /// The address of a byte of the registers or the configuration.
    fn register(&self, offset: usize) -> NonNull<u8> {
        // SAFETY: pages of device registers are mapped side by side, by their physical addresses.
        unsafe { self.registers.add(offset) }
    }
}

impl Transport for Mmio {
    fn describe(&self, line: &mut debug::Line) {
        line.text("virtio-mmio device at ").hex(self.base as u64);
    }

    fn status(&self) -> DeviceStatus {
        self.all().status().read()
    }

    fn set_status(&self, status: DeviceStatus) {
        self.all().status().write(status);
    }

    fn device_features(&self) -> u64 {
        let all = self.all();
        (0..2).fold(0, |features, half| {
            all.device_features_sel().write(le32::from_ne(half));
            features | u64::from(all.device_features().read().to_ne()) << (32 * half)
        })
    }

    fn set_driver_features(&self, features: u64) {
        let all = self.all();
        for half in 0..2 {
            all.driver_features_sel().write(le32::from_ne(half));
            all.driver_features().write(le32::from_ne((features >> (32 * half)) as u32));
        }
    }

    fn queue_size(&self, queue: u16) -> u16 {
        let all = self.all();
        all.queue_sel().write(le16::from_ne(queue));
        // In use already: not for us (4.2.3.2).
        if all.queue_ready().read() {
            return 0;
        }
        all.queue_size_max().read().to_ne()
    }

    fn enable_queue(
        &self,
        queue: u16,
        size: u16,
        areas: Areas,
        _entry: u16,
    ) -> Result<Doorbell, Refusal> {
        let all = self.all();
        all.queue_sel().write(le16::from_ne(queue));
        all.queue_size().write(le16::from_ne(size));
        all.queue_desc().write(le64::from_ne(areas.descriptors));
        all.queue_driver().write(le64::from_ne(areas.driver));
        all.queue_device().write(le64::from_ne(areas.device));
        all.queue_ready().write(true);
        if !all.queue_ready().read() {
            return Err("it does not take a queue");
        }
        // SAFETY: a register of 32 bits, mapped for good.
        Ok(unsafe { Doorbell::new(self.register(NOTIFY), queue, true) })
    }

    fn generation(&self) -> u32 {
        self.all().config_generation().read().to_ne()
    }

    fn field(&self, offset: usize, size: usize) -> u32 {
        assert!(offset < CONFIGURATION && offset & (size - 1) == 0);
        // SAFETY: in the configuration, aligned; the field has that many bytes (4.2.2.2).
        unsafe { read_register(self.register(CONFIGURATION + offset), size) }
    }

    fn connect(&self, wakes: &'static Wakes) -> Result<u16, Refusal> {
        let source = Box::leak(Box::new(Interrupts { registers: self.registers, wakes }));
        if self.line.level {
            interrupt::connect_line(self.line, source)?;
        } else {
            interrupt::connect_line(self.line, Box::leak(Box::new(Edges(wakes))))?;
            interrupt::connect_line(Line { number: TROUBLE, ..self.line }, source)?;
        }
        Ok(0)
    }
}

/// The interrupts of a device that has used buffers, without a word about it in its registers.
struct Edges(&'static Wakes);

impl Source for Edges {
    fn interrupt(&self) -> bool {
        self.0.parts.iter().for_each(Wake::wake);
        true
    }
}

/// The interrupts of a device that says in its registers what they are for.
struct Interrupts {
    registers: NonNull<u8>,
    wakes: &'static Wakes,
}

// SAFETY: the two registers may be used by any processor.
unsafe impl Sync for Interrupts {}

impl Source for Interrupts {
    fn interrupt(&self) -> bool {
        // SAFETY: registers of 32 bits, mapped for good (4.2.2: InterruptStatus, InterruptACK).
        let status = unsafe {
            let status = self.registers.add(INTERRUPT_STATUS).cast::<u32>();
            let acknowledge = self.registers.add(INTERRUPT_ACKNOWLEDGE).cast::<u32>();
            let status = status.read_volatile();
            if status != 0 {
                acknowledge.write_volatile(status);
            }
            status
        };
        if status & CONFIGURATION_CHANGE != 0 {
            self.wakes.change();
        }
        if status != 0 {
            self.wakes.parts.iter().for_each(Wake::wake);
        }
        status != 0
    }
}
