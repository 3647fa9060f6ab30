//! Virtio devices (Virtual I/O Device, version 1.2): how they are found, agreed with, and given queues.

#[cfg(test)]
pub mod fake;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod find;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod mmio;
pub mod options;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod pci;
pub mod queue;
pub mod transport;

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[cfg(any(target_os = "none", skete_lint_arch))]
pub use find::find;
use virtio::{DeviceStatus, F};

use self::queue::{Buffer, Format, Queue};
use self::transport::{Doorbell, NO_ENTRY, Refusal, Transport};
use super::wake::Wakes;
use crate::debug::{Level, Line};

/// Every device of this kind: a host's process has none.
#[cfg(not(any(target_os = "none", skete_lint_arch)))]
#[must_use]
pub const fn find(_kind: virtio::Id) -> alloc::vec::Vec<&'static dyn Transport> {
    alloc::vec::Vec::new()
}

/// Features of every kind of device that the driver knows. `VERSION_1` has to be there.
///
/// `ACCESS_PLATFORM` and `ORDER_PLATFORM`: addresses are physical, for nothing here turns an IOMMU on, and
/// accesses are ordered as for any other processor.
const COMMON: u64 = bits(F::VERSION_1)
    | bits(F::RING_PACKED)
    | bits(F::EVENT_IDX)
    | bits(F::ACCESS_PLATFORM)
    | bits(F::ORDER_PLATFORM);

/// The bits of a feature of any device.
#[must_use]
pub const fn bits(features: F) -> u64 {
    features.bits().to_ne() as u64
}

/// A device that the driver has come to terms with.
#[derive(Debug)]
pub struct Device {
    transport: &'static dyn Transport,
    features: u64,
    /// Entries of the device's table of messages; 0 when it has a line.
    entries: u16,
    failed: AtomicBool,
}

impl Device {
    /// Resets a device and agrees with it on features: among those in `known` and the common ones, what it
    /// offers and `choose` leaves (3.1.1, steps 1 to 6).
    ///
    /// # Errors
    ///
    /// What is wrong with the device.
    pub fn begin(
        transport: &'static dyn Transport,
        known: u64,
        choose: impl FnOnce(&dyn Transport, u64) -> u64,
    ) -> Result<Device, Refusal> {
        reset(transport)?;
        let mut status = DeviceStatus::ACKNOWLEDGE;
        transport.set_status(status);
        status |= DeviceStatus::DRIVER;
        transport.set_status(status);
        let offered = transport.device_features();
        if offered & bits(F::VERSION_1) == 0 {
            return Err("it speaks only the protocol before virtio 1.0");
        }
        let features = choose(transport, offered & (known | COMMON));
        transport.set_driver_features(features);
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status);
        let device = Device { transport, features, entries: 0, failed: AtomicBool::new(false) };
        if !device.transport.status().contains(DeviceStatus::FEATURES_OK) {
            device.give_up();
            return Err("it does not accept the features that are known here");
        }
        Line::log(Level::Debug, |line| {
            device.transport.describe(line);
            line.text(" offers ").hex(offered).text(", takes ").hex(features);
        });
        Ok(device)
    }

    /// The features that were agreed on.
    #[must_use]
    pub const fn features(&self) -> u64 {
        self.features
    }

    /// What the device is read and written by.
    #[must_use]
    pub const fn transport(&self) -> &'static dyn Transport {
        self.transport
    }

    /// Lets the device interrupt. Its queues go to `wakes` by [`Device::queue`]; with a line, all do.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn connect(&mut self, wakes: &'static Wakes) -> Result<(), Refusal> {
        self.entries = self.transport.connect(wakes)?;
        Ok(())
    }

    /// Makes a queue of at most `size` descriptors, with interrupts for the part with this number, of
    /// those that [`Device::connect`] was given (4.1.5.1.3, 4.2.3.2).
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn queue<B: Buffer>(
        &self,
        number: u16,
        size: u16,
        part: u16,
    ) -> Result<(Queue<B>, Doorbell), Refusal> {
        let most = self.transport.queue_size(number);
        if most == 0 {
            return Err("it lacks a queue that it should have");
        }
        // Of a power of two descriptors, also where a packed ring could have others (2.7).
        let size = 1 << size.min(most).min(1 << 15).ilog2();
        let format = Format {
            packed: self.features & bits(F::RING_PACKED) != 0,
            event_index: self.features & bits(F::EVENT_IDX) != 0,
        };
        let queue = Queue::new(size, format).ok_or("memory is short for its queues")?;
        let entry = match self.entries {
            0 => NO_ENTRY,
            count => part % count,
        };
        let doorbell = self.transport.enable_queue(number, size, queue.areas(), entry)?;
        Ok((queue, doorbell))
    }

    /// Tells the device that the driver is ready (3.1.1, step 8).
    ///
    /// # Errors
    ///
    /// When it has an error by now.
    pub fn start(&self) -> Result<(), Refusal> {
        let status = self.transport.status() | DeviceStatus::DRIVER_OK;
        self.transport.set_status(status);
        if self.transport.status().contains(DeviceStatus::DEVICE_NEEDS_RESET) {
            return Err("it has an error as soon as it starts");
        }
        Ok(())
    }

    /// Tells the device that the driver has given up on it, and resets it, so that it leaves memory alone.
    pub fn give_up(&self) {
        self.failed.store(true, Relaxed);
        let status = self.transport.status() | DeviceStatus::FAILED;
        self.transport.set_status(status);
        // It was told; whether it obeys cannot be helped.
        let _ = reset(self.transport);
    }

    /// Puts the device out of use, and says why, once.
    #[cold]
    pub fn put_out(&self, why: &str) {
        if !self.failed.swap(true, Relaxed) {
            let mut line = Line::new();
            line.text("skete: ");
            self.transport.describe(&mut line);
            line.text(" is out of use: ").text(why).end();
            self.give_up();
        }
    }

    /// True until the device is out of use. A device that says that it needs a reset is put out of use.
    #[must_use]
    pub fn works(&self) -> bool {
        if self.failed.load(Relaxed) {
            return false;
        }
        let status = self.transport.status();
        if status.contains(DeviceStatus::DEVICE_NEEDS_RESET) {
            self.put_out("it has an error that it cannot recover from");
            return false;
        }
        true
    }

    /// Reads from the device's configuration until it has not changed meanwhile (2.5.3.1).
    pub fn configuration<T>(&self, mut read: impl FnMut(&dyn Transport) -> T) -> T {
        loop {
            let before = self.transport.generation();
            let value = read(self.transport);
            if self.transport.generation() == before {
                return value;
            }
        }
    }
}

/// Resets a device and waits until it says that it is (2.1.2, 4.1.4.3.1).
fn reset(transport: &dyn Transport) -> Result<(), Refusal> {
    /// Each look leaves the virtual machine: a second at least.
    const LOOKS: u32 = 1_000_000;
    transport.set_status(DeviceStatus::empty());
    for _ in 0..LOOKS {
        if transport.status().is_empty() {
            return Ok(());
        }
        core::hint::spin_loop();
    }
    Err("it does not end its reset")
}

/// Says, in any case, why a device is not used.
pub fn refuse(transport: &dyn Transport, why: Refusal) {
    let mut line = Line::new();
    line.text("skete: ");
    transport.describe(&mut line);
    line.text(" is not used: ").text(why).end();
}
