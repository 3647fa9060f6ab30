//! Virtio over PCI (Virtual I/O Device version 1.2, section 4.1), by the capabilities of version 1.0 and later.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;

use pci_types::capability::PciCapability;
use virtio::pci::{
    CapCfgType, CapData, CommonCfg, CommonCfgVolatileFieldAccess, CommonCfgVolatileWideFieldAccess,
};
use virtio::{DeviceStatus, Id, le16, le32, le64};
use volatile::VolatilePtr;

use super::queue::Areas;
use super::transport::{Doorbell, NO_ENTRY, Refusal, Transport, read_register};
use crate::debug::{Level, Line};
use crate::device::interrupt::{self, Source};
use crate::device::pci::{self, Function, Messages, Ports};
use crate::device::wake::{Wake, Wakes};

const VENDOR: u16 = 0x1af4;
/// A device's number is this and its kind (4.1.2).
const MODERN: u16 = 0x1040;
/// Transitional devices have numbers from here on, in an order of their own: the kind is the subsystem's.
const TRANSITIONAL: core::ops::Range<u16> = 0x1000..0x1040;

/// Of the interrupt status: the device's configuration has changed (4.1.4.5).
const CONFIGURATION_CHANGE: u8 = 1 << 1;

/// A structure of registers.
#[derive(Clone, Copy, Debug)]
struct Registers {
    start: NonNull<u8>,
    length: usize,
}

/// A device by its registers.
#[derive(Debug)]
pub struct Pci {
    function: Function,
    common: Registers,
    notify: Registers,
    notify_step: usize,
    status: Registers,
    own: Option<Registers>,
}

// SAFETY: registers of a device may be used by any processor; those who set up queues are one at a time.
unsafe impl Send for Pci {}
// SAFETY: as above.
unsafe impl Sync for Pci {}

/// The kind of device that a function is, if it is a virtio device.
fn kind(function: &Function) -> Option<Id> {
    let (vendor, device) = function.id();
    if vendor != VENDOR {
        return None;
    }
    let number = if TRANSITIONAL.contains(&device) {
        function.subsystem()
    } else {
        device.checked_sub(MODERN)?
    };
    Some(Id::from(u8::try_from(number).ok()?))
}

/// Adds every device of this kind that can be used to `found`. One that cannot is told of.
pub fn find(wanted: Id, found: &mut Vec<&'static dyn Transport>) {
    for function in pci::functions() {
        if kind(&function) != Some(wanted) {
            continue;
        }
        match Pci::new(function) {
            Ok(device) => found.push(Box::leak(Box::new(device))),
            Err(why) => {
                let mut line = Line::new();
                line.text("skete: ");
                function.describe(&mut line);
                line.text(" is not used: ").text(why).end();
            }
        }
    }
}

impl Pci {
    fn new(function: Function) -> Result<Pci, Refusal> {
        function.enable();
        // The first of each kind is the one that the device prefers (4.1.4.1).
        let mut found: [Option<CapData>; 4] = [None; 4];
        for capability in function.capabilities() {
            let PciCapability::Vendor(address) = capability else {
                continue;
            };
            let Some(data) = CapData::read(address, Ports) else {
                continue;
            };
            let place = match data.cfg_type {
                CapCfgType::Common => 0,
                CapCfgType::Notify => 1,
                CapCfgType::Isr => 2,
                CapCfgType::Device => 3,
                _ => continue,
            };
            // Values above 5 are reserved, and such a capability has to be ignored.
            if data.bar <= 5 {
                found[place].get_or_insert(data);
            }
        }
        let [common, notify, status, own] = found;
        let (Some(common), Some(notify), Some(status)) = (common, notify, status) else {
            return Err(
                "it speaks only the protocol before virtio 1.0 (QEMU: leave out disable-modern=on)",
            );
        };
        let map = |data: CapData, least: usize| {
            let length = data.length.to_ne();
            if length < least as u64 {
                return Err("its registers are fewer than there should be");
            }
            // What is longer than a page is for future versions (4.1.4.1), but for the doorbells.
            let length = length.min(1 << 20);
            let start = function.map(data.bar, data.offset.to_ne(), length)?;
            Ok(Registers { start, length: length as usize })
        };
        let step = notify.notify_off_multiplier.map_or(0, |step| step.to_ne());
        Ok(Pci {
            common: map(common, core::mem::offset_of!(Common, end))?,
            notify: map(notify, 2)?,
            notify_step: step as usize,
            status: map(status, 1)?,
            own: own.map(|own| map(own, 1)).transpose()?,
            function,
        })
    }

    fn common(&self) -> VolatilePtr<'_, CommonCfg> {
        // SAFETY: mapped, for good, as what they are. Fields behind those of version 1.0 are not used.
        unsafe { VolatilePtr::new(self.common.start.cast()) }
    }

    /// The address of `size` bytes of the device's own configuration; `None` beyond its end.
    fn own(&self, offset: usize, size: usize) -> Option<NonNull<u8>> {
        let own = self.own.filter(|own| offset + size <= own.length)?;
        // SAFETY: inside the structure.
        Some(unsafe { own.start.add(offset) })
    }

    /// Sets an entry for the queue that is selected, or (`None`) for the configuration, and looks whether the
    /// device has taken it (4.1.5.1.2).
    fn set_entry(&self, queue: bool, entry: u16) -> Result<(), Refusal> {
        let common = self.common();
        let register = match queue {
            true => common.queue_msix_vector(),
            false => common.config_msix_vector(),
        };
        register.write(le16::from_ne(entry));
        if register.read().to_ne() != entry {
            return Err("it cannot keep a message for an interrupt");
        }
        Ok(())
    }
}

/// The common structure of version 1.0, for its size.
#[repr(C)]
struct Common {
    registers: [u32; 14],
    end: (),
}

impl Transport for Pci {
    fn describe(&self, line: &mut Line) {
        self.function.describe(line);
    }

    fn status(&self) -> DeviceStatus {
        self.common().device_status().read()
    }

    fn set_status(&self, status: DeviceStatus) {
        self.common().device_status().write(status);
    }

    fn device_features(&self) -> u64 {
        let common = self.common();
        (0..2).fold(0, |features, half| {
            common.device_feature_select().write(le32::from_ne(half));
            features | u64::from(common.device_feature().read().to_ne()) << (32 * half)
        })
    }

    fn set_driver_features(&self, features: u64) {
        let common = self.common();
        for half in 0..2 {
            common.driver_feature_select().write(le32::from_ne(half));
            common.driver_feature().write(le32::from_ne((features >> (32 * half)) as u32));
        }
    }

    fn queue_size(&self, queue: u16) -> u16 {
        let common = self.common();
        if queue >= common.num_queues().read().to_ne() {
            return 0;
        }
        common.queue_select().write(le16::from_ne(queue));
        common.queue_size().read().to_ne()
    }

    fn enable_queue(
        &self,
        queue: u16,
        size: u16,
        areas: Areas,
        entry: u16,
    ) -> Result<Doorbell, Refusal> {
        let common = self.common();
        common.queue_select().write(le16::from_ne(queue));
        common.queue_size().write(le16::from_ne(size));
        if common.queue_size().read().to_ne() != size {
            return Err("it does not take a queue as small as this");
        }
        common.queue_desc().write(le64::from_ne(areas.descriptors));
        common.queue_driver().write(le64::from_ne(areas.driver));
        common.queue_device().write(le64::from_ne(areas.device));
        if entry != NO_ENTRY {
            self.set_entry(true, entry)?;
        }
        let place = usize::from(common.queue_notify_off().read().to_ne()) * self.notify_step;
        if place + 2 > self.notify.length || !place.is_multiple_of(2) {
            return Err("a doorbell is outside of its registers");
        }
        common.queue_enable().write(le16::from_ne(1));
        if common.queue_enable().read().to_ne() != 1 {
            return Err("it does not take a queue");
        }
        // SAFETY: inside the structure, which is mapped for good; doorbells have 16 bits and are aligned
        // (4.1.4.4.1).
        Ok(unsafe { Doorbell::new(self.notify.start.add(place), queue, false) })
    }

    fn generation(&self) -> u32 {
        self.common().config_generation().read().into()
    }

    fn field(&self, offset: usize, size: usize) -> u32 {
        assert!(offset & (size - 1) == 0);
        // SAFETY: inside the structure, which is aligned (4.1.4.6.1), as is the field.
        self.own(offset, size).map_or(0, |field| unsafe { read_register(field, size) })
    }

    fn connect(&self, wakes: &'static Wakes) -> Result<u16, Refusal> {
        // One for each part, and one for changes.
        let most = wakes.parts.len() as u16 + 1;
        if let Some(mut messages) = Messages::of(&self.function, most)? {
            let last = messages.count() - 1;
            // With a single entry, it is for all.
            let count = last.max(1);
            for entry in 0..=last {
                let queues = entry < count;
                let source = Box::leak(Box::new(Message {
                    wakes,
                    changes: entry == last,
                    entry: if queues { entry.into() } else { wakes.parts.len() },
                    step: count.into(),
                }));
                let processor = if queues { entry.into() } else { 0 };
                messages.set(entry, interrupt::connect_message(processor, source)?);
            }
            messages.enable();
            self.set_entry(false, last)?;
            return Ok(count);
        }
        let line = self
            .function
            .line()
            .ok_or("it has no messages for interrupts, and firmware tells of no line")?;
        let source = Box::leak(Box::new(Shared { status: self.status.start, wakes }));
        interrupt::connect_line(line, source)?;
        Line::log(Level::Debug, |text| {
            self.function.describe(text);
            text.text(" interrupts by a line");
        });
        Ok(0)
    }
}

/// An entry of a device's table of messages.
struct Message {
    wakes: &'static Wakes,
    /// It is for changes of the configuration.
    changes: bool,
    /// The first part that it is for, and the distance to the next.
    entry: usize,
    step: usize,
}

impl Source for Message {
    fn interrupt(&self) -> bool {
        if self.changes {
            self.wakes.change();
        }
        self.wakes.parts.iter().skip(self.entry).step_by(self.step).for_each(Wake::wake);
        true
    }
}

/// A device's line, which others may share.
struct Shared {
    status: NonNull<u8>,
    wakes: &'static Wakes,
}

// SAFETY: the register may be read by any processor.
unsafe impl Sync for Shared {}

impl Source for Shared {
    fn interrupt(&self) -> bool {
        // SAFETY: mapped for good. Reading acknowledges the interrupt (4.1.4.5).
        let status = unsafe { self.status.read_volatile() };
        if status & CONFIGURATION_CHANGE != 0 {
            self.wakes.change();
        }
        if status != 0 {
            self.wakes.parts.iter().for_each(Wake::wake);
        }
        status != 0
    }
}
