//! Channels and sources of random numbers against devices that live in this process.

use std::thread;

use super::console::Console;
use super::entropy::Source;
use crate::Error;
use crate::device::virtio::fake::{Fake, VERSION_1, memory};
use crate::device::virtio::queue::tests::Model;
use crate::fd::poll::Events;

/// A device with nothing in its configuration.
fn fake() -> &'static Fake {
    Fake::new(VERSION_1, (2, 64), Vec::new())
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
    let fake = fake();
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
        let fake = fake();
        let source = Source::new(fake).unwrap();
        let device = answer(fake.queue(0), count);
        let mut buffer = [0; 100];
        assert_eq!(source.read(&mut buffer), Err(Error::DeviceFailed));
        device.join().unwrap();
        assert!(fake.is_reset());
        assert_eq!(source.read(&mut buffer), Err(Error::DeviceFailed));
    }
}

#[test]
fn a_channel_gives_what_has_come_in_turn() {
    let fake = fake();
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
    let fake = fake();
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
    let fake = fake();
    let console = Console::new(fake).unwrap();
    let mut queue = fake.queue(0);
    let chain = queue.take().unwrap();
    queue.give(&chain, 4097);
    assert_eq!(console.read(&mut [0; 5], true), Err(Error::DeviceFailed));
    assert!(fake.is_reset());
    // Who polls is told that a read does not wait.
    assert_eq!(console.ready(), Events::READABLE | Events::WRITABLE);
}
