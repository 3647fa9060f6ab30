//! What the ways to a virtio device have in common (Virtual I/O Device version 1.2, chapter 4).

use core::fmt;
use core::ptr::NonNull;

use virtio::DeviceStatus;

use super::queue::Areas;
use crate::debug::Line;
use crate::device::wake::Wakes;

/// Why a device is not used, as the second half of a sentence about it.
pub type Refusal = &'static str;

/// Of a queue that interrupts by a line: no entry in a table of messages (4.1.5.1.2).
pub const NO_ENTRY: u16 = 0xffff;

/// A way to a device.
pub trait Transport: Send + Sync {
    /// Adds what the device is called in messages.
    fn describe(&self, line: &mut Line);

    /// The device's status.
    fn status(&self) -> DeviceStatus;

    /// Changes it; 0 resets the device.
    fn set_status(&self, status: DeviceStatus);

    /// Feature bits 0 to 63 that the device offers.
    fn device_features(&self) -> u64;

    /// Tells the device which of them are taken.
    fn set_driver_features(&self, features: u64);

    /// The most descriptors that a queue may have; 0 without such a queue.
    fn queue_size(&self, queue: u16) -> u16;

    /// Lets the device use a queue, which interrupts by this entry of its table of messages.
    ///
    /// # Errors
    ///
    /// When the device does not take it.
    fn enable_queue(
        &self,
        queue: u16,
        size: u16,
        areas: Areas,
        entry: u16,
    ) -> Result<Doorbell, Refusal>;

    /// Changes when the device's configuration does.
    fn generation(&self) -> u32;

    /// A number of 1, 2 or 4 bytes (`size`) of the device's own configuration, at a multiple of its size.
    fn field(&self, offset: usize, size: usize) -> u32;

    /// Lets the device interrupt. Gives the number of entries of its table of messages that are for queues: entry n
    /// is for the parts whose number is n when divided by that count, on the processor of the same number. 0: it has
    /// a line, for all of them.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    fn connect(&self, wakes: &'static Wakes) -> Result<u16, Refusal>;
}

impl dyn Transport + '_ {
    /// A byte of the device's own configuration.
    pub fn byte(&self, offset: usize) -> u8 {
        self.field(offset, 1) as u8
    }

    /// A 16-bit number of the device's own configuration.
    pub fn word(&self, offset: usize) -> u16 {
        self.field(offset, 2) as u16
    }

    /// A 32-bit number of the device's own configuration.
    pub fn long(&self, offset: usize) -> u32 {
        self.field(offset, 4)
    }
}

/// Reads a number of 1, 2 or 4 bytes that is least significant byte first.
///
/// # Safety
///
/// It is a device's register, mapped, and aligned.
#[cfg(any(target_os = "none", skete_lint_arch))]
pub(super) unsafe fn read_register(register: NonNull<u8>, size: usize) -> u32 {
    // SAFETY: vouched for by the caller.
    unsafe {
        match size {
            1 => register.read_volatile().into(),
            2 => u16::from_le(register.cast::<u16>().read_volatile()).into(),
            _ => u32::from_le(register.cast::<u32>().read_volatile()),
        }
    }
}

// As a supertrait it would bring into every image what prints each kind of way, and nothing prints one there.
impl fmt::Debug for dyn Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Transport")
    }
}

/// What tells a device of new buffers in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Doorbell {
    register: NonNull<u8>,
    queue: u16,
    wide: bool,
}

// SAFETY: a register of a device may be written by any processor.
unsafe impl Send for Doorbell {}

impl Doorbell {
    /// The doorbell of `queue` at `register`, which takes 32 bits or 16.
    ///
    /// # Safety
    ///
    /// It is mapped, for good, and aligned.
    #[must_use]
    pub const unsafe fn new(register: NonNull<u8>, queue: u16, wide: bool) -> Doorbell {
        Doorbell { register, queue, wide }
    }

    /// Tells the device.
    #[inline]
    pub fn ring(&self) {
        // SAFETY: vouched for by the creator. `Queue::needs_notification` has ordered it behind the buffers.
        unsafe {
            if self.wide {
                let register = self.register.cast::<u32>();
                register.write_volatile(u32::from(self.queue).to_le());
            } else {
                let register = self.register.cast::<u16>();
                register.write_volatile(self.queue.to_le());
            }
        }
    }
}
