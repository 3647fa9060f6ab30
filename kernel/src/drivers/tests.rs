//! Channels and sources of random numbers against devices that live in this process.

use core::ptr::NonNull;
use std::sync::Mutex;
use std::thread;

use virtio::DeviceStatus;

use super::console::Console;
use super::entropy::Source;
use crate::debug::Line;
use crate::device::virtio::queue::tests::Model;
use crate::device::virtio::queue::{Areas, Format, Span};
use crate::device::virtio::transport::{Doorbell, Refusal, Transport};
use crate::device::wake::Wakes;
use crate::fd::poll::Events;
use crate::{Error, Result};

/// A queue's number, areas and size.
type Made = (u16, Areas, u16);

/// A device with nothing in its configuration: its status, and the queues that it was given.
#[derive(Debug, Default)]
struct Fake {
    told: Mutex<(u8, Vec<Made>)>,
}

impl Fake {
    fn new() -> &'static Fake {
        Box::leak(Box::default())
    }

    /// The device's side of a queue.
    fn queue(&self, number: u16) -> Model {
        let told = self.told.lock().unwrap();
        let queue = told.1.iter().find(|queue| queue.0 == number);
        let (_, areas, size) = *queue.expect("the driver has made the queue");
        Model::new(areas, size, Format::default())
    }
}

impl Transport for Fake {
    fn describe(&self, line: &mut Line) {
        line.text("fake");
    }

    fn status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.told.lock().unwrap().0)
    }

    fn set_status(&self, status: DeviceStatus) {
        self.told.lock().unwrap().0 = status.bits();
    }

    fn device_features(&self) -> u64 {
        1 << 32
    }

    fn set_driver_features(&self, features: u64) {
        assert_eq!(features, 1 << 32);
    }

    fn queue_size(&self, queue: u16) -> u16 {
        if queue < 2 { 64 } else { 0 }
    }

    fn enable_queue(
        &self,
        queue: u16,
        size: u16,
        areas: Areas,
        _: u16,
    ) -> Result<Doorbell, Refusal> {
        self.told.lock().unwrap().1.push((queue, areas, size));
        let register = NonNull::from(Box::leak(Box::new(0u32)));
        // SAFETY: four bytes, for good.
        Ok(unsafe { Doorbell::new(register.cast(), queue, true) })
    }

    fn generation(&self) -> u32 {
        0
    }

    fn field(&self, offset: usize, size: usize) -> u32 {
        panic!("{size} bytes at offset {offset}")
    }

    fn connect(&self, _: &'static Wakes) -> Result<u16, Refusal> {
        Ok(0)
    }
}

/// The memory of a span.
fn memory(span: Span) -> &'static mut [u8] {
    // SAFETY: the driver has given it to the device, which this is, and keeps away.
    unsafe { core::slice::from_raw_parts_mut(span.physical as *mut u8, span.length as usize) }
}

/// Answers one request for random numbers with so many of them.
fn answer(mut queue: Model, count: u32) -> thread::JoinHandle<(u32, Model)> {
    thread::spawn(move || {
        loop {
            if let Some(chain) = queue.take() {
                let room = memory(chain.spans[0]);
                let length = room.len();
                room[..length.min(count as usize)].fill(7);
                queue.give(&chain, count);
                return (length as u32, queue);
            }
            thread::yield_now();
        }
    })
}

#[test]
fn random_numbers_are_as_many_as_the_device_gives() {
    let fake = Fake::new();
    let source = Source::new(fake).unwrap();
    let mut buffer = [0; 100];
    let device = answer(fake.queue(0), 10);
    assert_eq!(source.read(&mut buffer), Ok(10));
    assert!(buffer[..10] == [7; 10] && buffer[10..] == [0; 90]);
    let (asked, queue) = device.join().unwrap();
    assert_eq!(asked, 100);
    let device = answer(queue, 4096);
    assert_eq!(source.read(&mut [0; 9000]), Ok(4096));
    device.join().unwrap();
}

#[test]
fn a_source_that_lies_is_put_out_of_use() {
    for count in [0, 101] {
        let fake = Fake::new();
        let source = Source::new(fake).unwrap();
        let device = answer(fake.queue(0), count);
        let mut buffer = [0; 100];
        assert_eq!(source.read(&mut buffer), Err(Error::DeviceFailed));
        device.join().unwrap();
        assert_eq!(fake.told.lock().unwrap().0, 0, "it was reset");
        assert_eq!(source.read(&mut buffer), Err(Error::DeviceFailed));
    }
}

#[test]
fn a_channel_gives_what_has_come_in_turn() {
    let fake = Fake::new();
    let console = Console::new(fake).unwrap();
    let mut queue = fake.queue(0);
    let mut buffer = [0; 5];
    assert_eq!(console.read(&mut buffer, false), Err(Error::WouldBlock));
    assert_eq!(console.ready(), Events::WRITABLE);
    // More rounds than there are buffers: each is given back.
    for round in 0..20 {
        let chain = queue.take().expect("a buffer to receive into");
        memory(chain.spans[0])[..7].copy_from_slice(&[round; 7]);
        queue.give(&chain, 7);
        assert_eq!(console.ready(), Events::READABLE | Events::WRITABLE);
        assert_eq!(console.read(&mut buffer, true), Ok(5));
        assert_eq!(buffer, [round; 5]);
        assert_eq!(console.read(&mut buffer, false), Ok(2));
        assert_eq!(console.read(&mut buffer, false), Err(Error::WouldBlock));
    }
}

#[test]
fn a_channel_takes_what_it_has_room_for() {
    let fake = Fake::new();
    let console = Console::new(fake).unwrap();
    let mut queue = fake.queue(1);
    let bytes: Vec<u8> = (0..5000).map(|at| at as u8).collect();
    assert_eq!(console.write(&bytes, false), Ok(4096));
    assert_eq!(console.write(&bytes, false), Err(Error::WouldBlock));
    assert_eq!(console.ready(), Events::NONE);
    let chain = queue.take().unwrap();
    assert!(*memory(chain.spans[0]) == bytes[..4096]);
    queue.give(&chain, 0);
    assert_eq!(console.ready(), Events::WRITABLE);
    assert_eq!(console.write(&bytes[4096..], false), Ok(904));
    assert!(*memory(queue.take().unwrap().spans[0]) == bytes[4096..]);
}

#[test]
fn a_channel_that_lies_is_put_out_of_use() {
    let fake = Fake::new();
    let console = Console::new(fake).unwrap();
    let mut queue = fake.queue(0);
    let chain = queue.take().unwrap();
    queue.give(&chain, 4097);
    assert_eq!(console.read(&mut [0; 5], true), Err(Error::DeviceFailed));
    assert_eq!(fake.told.lock().unwrap().0, 0, "it was reset");
    // Who polls is told that a read does not wait.
    assert_eq!(console.ready(), Events::READABLE | Events::WRITABLE);
}
