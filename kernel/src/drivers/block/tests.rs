//! The driver against a disk that lives in this process, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::device::virtio::fake::{EVENT_INDEX, Fake, PACKED, VERSION_1, memory};
use crate::device::virtio::queue::tests::{Chain, Model};

/// A disk's configuration.
fn configuration(sectors: u64, sector: u32, size_max: u32) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK_SIZE + 4];
    bytes[CAPACITY..][..8].copy_from_slice(&sectors.to_le_bytes());
    bytes[SIZE_MAX..][..4].copy_from_slice(&size_max.to_le_bytes());
    bytes[BLOCK_SIZE..].copy_from_slice(&sector.to_le_bytes());
    bytes
}

fn fake(offers: u64, sectors: u64, sector: u32) -> &'static Fake {
    Fake::new(offers | VERSION_1, (1, 256), configuration(sectors, sector, 8192))
}

/// Does what a request asks for; gives the status and how many bytes were written.
fn serve(chain: &Chain, bytes: &mut [u8], bad: Option<u64>) -> (u8, u32) {
    let header = memory(chain.spans[0]);
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    let sector = u64::from(word(8)) | u64::from(word(12)) << 32;
    let start = sector as usize * 512;
    if bad.is_some_and(|bad| bad == sector) {
        return (1, 1);
    }
    match (word(0), &chain.spans[1..]) {
        (0, [data, _]) if data.writable => {
            let data = memory(*data);
            data.copy_from_slice(&bytes[start..start + data.len()]);
            (0, data.len() as u32 + 1)
        }
        (1, [data, _]) if !data.writable => {
            let data = memory(*data);
            bytes[start..start + data.len()].copy_from_slice(data);
            (0, 1)
        }
        (4, [_]) => (0, 1),
        _ => (2, 1),
    }
}

/// A running device with its bytes.
struct Running {
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<u8>>,
}

impl Running {
    /// Serves requests in any order, `bad` with an error.
    fn start(fake: &'static Fake, mut bytes: Vec<u8>, bad: Option<u64>) -> Running {
        let over = Arc::new(AtomicBool::new(false));
        let end = over.clone();
        let mut queue = fake.queue(0);
        queue.want(true);
        let thread = thread::spawn(move || {
            let mut held = Vec::new();
            while !end.load(Ordering::SeqCst) {
                while let Some(chain) = queue.take() {
                    held.push(chain);
                    queue.want(true);
                }
                // The newest first.
                if let Some(chain) = held.pop() {
                    let (status, written) = serve(&chain, &mut bytes, bad);
                    memory(*chain.spans.last().unwrap())[0] = status;
                    queue.give(&chain, written);
                } else {
                    thread::yield_now();
                }
            }
            bytes
        });
        Running { over, thread }
    }

    fn end(self) -> Vec<u8> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

fn disk(fake: &'static Fake) -> &'static Disk {
    Box::leak(Box::new(Disk::new(fake).unwrap()))
}

#[derive(Clone, Debug)]
enum Step {
    Read(usize, usize),
    Write(usize, usize, u8),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let length = || prop_oneof![1usize..2000, 1usize..60_000];
    prop_oneof![
        (0usize..70_000, length()).prop_map(|(at, length)| Step::Read(at, length)),
        (0usize..70_000, length(), any::<u8>())
            .prop_map(|(at, length, byte)| Step::Write(at, length, byte)),
        Just(Step::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// A disk is bytes at positions, whatever its sectors and its queue.
    #[test]
    fn bytes_are_where_they_were_written(
        packed in any::<bool>(), events in any::<bool>(), small in any::<bool>(), large in any::<bool>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut offers = bit(F::FLUSH);
        offers |= if packed { PACKED } else { 0 } | if events { EVENT_INDEX } else { 0 };
        offers |= if small { bit(F::SIZE_MAX) } else { 0 };
        offers |= if large { bit(F::BLK_SIZE) } else { 0 };
        let fake = fake(offers, 128, 4096);
        let disk = disk(fake);
        let mut model: Vec<u8> = (0..65536).map(|at| (at / 7) as u8).collect();
        let running = Running::start(fake, model.clone(), None);
        for step in steps {
            match step {
                Step::Read(at, length) => {
                    let mut buffer = vec![0; length];
                    let expected = &model[at.min(65536)..(at + length).min(65536)];
                    prop_assert_eq!(disk.read_at(&mut buffer, at as u64), Ok(expected.len()));
                    prop_assert!(buffer[..expected.len()] == *expected);
                }
                Step::Write(at, length, byte) => {
                    let bytes: Vec<u8> = (0..length).map(|at| byte ^ at as u8).collect();
                    let place = &mut model[at.min(65536)..(at + length).min(65536)];
                    let written = match place.len() {
                        0 => Err(Error::NoSpace),
                        length => Ok(length),
                    };
                    prop_assert_eq!(disk.write_at(&bytes, at as u64), written);
                    place.copy_from_slice(&bytes[..place.len()]);
                }
                Step::Flush => prop_assert_eq!(disk.flush(), Ok(())),
            }
        }
        prop_assert!(running.end() == model);
    }
}

/// Neighbours in a sector that threads write at the same time stay.
#[test]
fn threads_share_sectors() {
    let fake = fake(EVENT_INDEX, 128, 0);
    let disk = disk(fake);
    let running = Running::start(fake, vec![0; 65536], None);
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                for piece in (number..300).step_by(4) {
                    // Some of them are whole sectors.
                    let (at, length) = if piece >= 200 {
                        (40_960 + (piece - 200) * 512 / 4, 128)
                    } else {
                        (piece * 200, 200)
                    };
                    let bytes = vec![piece as u8; length];
                    assert_eq!(disk.write_at(&bytes, at as u64), Ok(length));
                }
                if number == 0 {
                    assert_eq!(disk.write_at(&[7; 8192], 57_344), Ok(8192));
                }
            });
        }
    });
    let bytes = running.end();
    for piece in 0..200 {
        assert!(bytes[piece * 200..][..200].iter().all(|byte| *byte == piece as u8));
    }
    for piece in 200..300 {
        let place = &bytes[40_960 + (piece - 200) * 128..][..128];
        assert!(place.iter().all(|byte| *byte == piece as u8), "{piece}");
    }
    assert!(bytes[57_344..] == [7; 8192]);
}

#[test]
fn what_comes_before_an_error_counts() {
    let fake = fake(bit(F::SIZE_MAX) | bit(F::FLUSH), 128, 0);
    let disk = disk(fake);
    // Requests have 8 KiB here.
    let running = Running::start(fake, vec![3; 65536], Some(32));
    let mut buffer = vec![0; 40_000];
    assert_eq!(disk.read_at(&mut buffer, 100), Ok(16_284));
    assert!(buffer[..16_284] == [3; 16_284]);
    assert_eq!(disk.read_at(&mut buffer, 16_384), Err(Error::DeviceFailed));
    assert_eq!(disk.write_at(&buffer, 0), Ok(16_384));
    assert_eq!(disk.write_at(&[1; 8], 16_390), Err(Error::DeviceFailed));
    // It works as before.
    assert_eq!(disk.read_at(&mut buffer[..9], 60_000), Ok(9));
    running.end();
}

#[test]
fn a_disk_says_what_it_is() {
    let constant = disk(fake(bit(F::RO) | bit(F::BLK_SIZE), 15, 4096));
    assert!(constant.is_read_only());
    assert_eq!(constant.capacity(), 4096);
    assert_eq!(constant.write_at(&[1], 0), Err(Error::ReadOnly));
    for (sector, size_max) in [(0, 8192), (256, 8192), (513, 8192), (4096, 2048)] {
        let offers = VERSION_1 | bit(F::BLK_SIZE) | bit(F::SIZE_MAX);
        let refused = Disk::new(Fake::new(offers, (1, 256), configuration(15, sector, size_max)));
        assert_eq!(refused.err(), Some("its sectors are of a size that cannot be"));
    }
}

#[test]
fn a_disk_may_change_its_size() {
    let fake = fake(0, 128, 0);
    let disk = disk(fake);
    assert_eq!(disk.capacity(), 65536);
    fake.change(configuration(256, 0, 8192));
    assert_eq!(disk.capacity(), 131_072);
}

/// A device that breaks the rules is reset, and everything fails from then on.
#[test]
fn a_disk_that_lies_is_put_out_of_use() {
    let lies: [fn(&mut Model, &Chain); 4] = [
        // More than there is room for.
        |queue, chain| _ = queue.give(chain, u32::MAX),
        // Less than was asked for, and yet done.
        |queue, chain| {
            memory(*chain.spans.last().unwrap())[0] = 0;
            queue.give(chain, 100);
        },
        // No status.
        |queue, chain| _ = queue.give(chain, 513),
        // Another request than there is.
        |queue, _| _ = queue.give_raw(9, 3, 0),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let fake = fake(EVENT_INDEX, 128, 0);
        let disk = disk(fake);
        let mut queue = fake.queue(0);
        let device = thread::spawn(move || {
            loop {
                if let Some(chain) = queue.take() {
                    break lie(&mut queue, &chain);
                }
                thread::yield_now();
            }
        });
        let mut buffer = [0; 512];
        assert_eq!(disk.read_at(&mut buffer, 0), Err(Error::DeviceFailed), "{number}");
        device.join().unwrap();
        assert!(fake.is_reset());
        for _ in 0..100 {
            assert_eq!(disk.read_at(&mut buffer, 0), Err(Error::DeviceFailed));
            assert_eq!(disk.write_at(&[1], 9), Err(Error::DeviceFailed));
        }
    }
}
