//! A device that lives in the process of a test, which has the other side of its queues.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::Mutex;

use virtio::DeviceStatus;

use super::queue::tests::Model;
use super::queue::{Areas, Format, Span};
use super::transport::{Doorbell, Refusal, Transport};
use crate::debug::Line;
use crate::device::wake::Wakes;

/// The protocol of virtio 1.0 and later.
pub const VERSION_1: u64 = 1 << 32;
/// Packed queues.
pub const PACKED: u64 = 1 << 34;
/// Indices for events.
pub const EVENT_INDEX: u64 = 1 << 29;

/// A device: what it offers, what is in its configuration, and what it was told.
#[derive(Debug)]
pub struct Fake {
    offers: u64,
    /// How many queues it has, and of what size.
    queues: (u16, u16),
    configuration: Mutex<Vec<u8>>,
    changes: AtomicU32,
    stubborn: bool,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    status: u8,
    takes: u64,
    queues: Vec<(u16, Areas, u16)>,
    wakes: Option<&'static Wakes>,
}

impl Fake {
    /// A device with so many queues, of a size.
    pub fn new(offers: u64, queues: (u16, u16), configuration: Vec<u8>) -> &'static Fake {
        Fake::make(offers, queues, configuration, false)
    }

    /// One that refuses what the driver has chosen.
    pub fn stubborn(offers: u64, queues: (u16, u16), configuration: Vec<u8>) -> &'static Fake {
        Fake::make(offers, queues, configuration, true)
    }

    fn make(offers: u64, queues: (u16, u16), bytes: Vec<u8>, stubborn: bool) -> &'static Fake {
        let (configuration, changes, told) = (bytes.into(), AtomicU32::new(0), Mutex::default());
        Box::leak(Box::new(Fake { offers, queues, configuration, changes, stubborn, told }))
    }

    /// The features that the driver has taken.
    pub fn takes(&self) -> u64 {
        self.told.lock().unwrap().takes
    }

    /// True when the driver has reset it.
    pub fn is_reset(&self) -> bool {
        self.told.lock().unwrap().status == 0
    }

    /// The device's side of a queue.
    pub fn queue(&self, number: u16) -> Model {
        let told = self.told.lock().unwrap();
        let format =
            Format { packed: told.takes & PACKED != 0, event_index: told.takes & EVENT_INDEX != 0 };
        let queue = told.queues.iter().find(|queue| queue.0 == number);
        let (_, areas, size) = *queue.expect("the driver has made the queue");
        Model::new(areas, size, format)
    }

    /// Changes its configuration, and interrupts.
    pub fn change(&self, configuration: Vec<u8>) {
        *self.configuration.lock().unwrap() = configuration;
        self.changes.fetch_add(1, SeqCst);
        self.told.lock().unwrap().wakes.expect("the driver waits for interrupts").change();
    }
}

impl Transport for Fake {
    fn describe(&self, line: &mut Line) {
        line.text("fake");
    }

    fn status(&self) -> DeviceStatus {
        let status = DeviceStatus::from_bits_retain(self.told.lock().unwrap().status);
        if self.stubborn { status - DeviceStatus::FEATURES_OK } else { status }
    }

    fn set_status(&self, status: DeviceStatus) {
        self.told.lock().unwrap().status = status.bits();
    }

    fn device_features(&self) -> u64 {
        self.offers
    }

    fn set_driver_features(&self, features: u64) {
        assert_eq!(features & !self.offers, 0, "what was not offered");
        self.told.lock().unwrap().takes = features;
    }

    fn queue_size(&self, queue: u16) -> u16 {
        let (count, size) = self.queues;
        if queue < count { size } else { 0 }
    }

    fn enable_queue(
        &self,
        queue: u16,
        size: u16,
        areas: Areas,
        _: u16,
    ) -> Result<Doorbell, Refusal> {
        self.told.lock().unwrap().queues.push((queue, areas, size));
        let register = NonNull::from(Box::leak(Box::new(0u32)));
        // SAFETY: four bytes, for good.
        Ok(unsafe { Doorbell::new(register.cast(), queue, true) })
    }

    fn generation(&self) -> u32 {
        self.changes.load(SeqCst)
    }

    fn field(&self, offset: usize, size: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes[..size].copy_from_slice(&self.configuration.lock().unwrap()[offset..offset + size]);
        u32::from_le_bytes(bytes)
    }

    fn connect(&self, wakes: &'static Wakes) -> Result<u16, Refusal> {
        self.told.lock().unwrap().wakes = Some(wakes);
        Ok(0)
    }
}

/// The memory of a span.
pub fn memory(span: Span) -> &'static mut [u8] {
    // SAFETY: the driver has given it to the device, which this is, and keeps away.
    unsafe { core::slice::from_raw_parts_mut(span.physical as *mut u8, span.length as usize) }
}
