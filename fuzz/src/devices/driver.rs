//! A driver: registers, rings, and what it has given to a device.

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use skete_hypervisor::devices::mmio::Mmio;
use skete_hypervisor::memory::Memory;
use vm_memory::{Bytes, GuestAddress};

use super::room::MEMORY;

/// Where the tables of indirect descriptors are, and the data behind them. The queues are in front.
const TABLES: u64 = 0xa000;
/// Where the data is.
pub const DATA: u64 = 0x1_0000;

const VERSION_1: u64 = 1 << 32;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// The most descriptors of a request, and of queues.
const MOST: usize = 16;
const QUEUES: u64 = 3;

/// How a driver sets a device up.
#[derive(Arbitrary, Debug)]
pub enum Setup {
    /// As it should, with features and a size.
    Good(u64, u8),
    /// With features, and for each queue a size and places.
    Any(u64, [(u8, [Place; 3]); QUEUES as usize]),
}

/// An address.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Place {
    Data(u16),
    Rings(u16),
    NearEnd(u8),
    Any(u64),
}

impl Place {
    /// The address itself.
    pub fn address(self) -> u64 {
        match self {
            Place::Data(at) => DATA + u64::from(at),
            Place::Rings(at) => at.into(),
            Place::NearEnd(back) => MEMORY - u64::from(back),
            Place::Any(at) => at,
        }
    }
}

/// A part of memory.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Its first byte.
    pub address: u64,
    /// Its bytes.
    pub length: u64,
}

impl Range {
    /// Whether the guest has this memory.
    pub fn is_memory(&self) -> bool {
        self.address < MEMORY && self.length <= MEMORY - self.address
    }

    /// Whether something in front of the data is in it.
    fn is_before_data(&self) -> bool {
        self.address < DATA && self.length > 0
    }

    fn bytes(&self) -> std::ops::Range<usize> {
        self.address as usize..(self.address + self.length) as usize
    }
}

/// The parts of a request.
#[derive(Debug, Default)]
pub struct Chain {
    /// What the device reads.
    pub readable: Vec<Range>,
    /// What it may write.
    pub writable: Vec<Range>,
}

impl Chain {
    /// A chain as a device has to take it: one of more than 4 GiB ends before.
    pub fn new(parts: &[(Range, bool)]) -> Chain {
        let (mut chain, mut all) = (Chain::default(), 0_u64);
        for (range, writable) in parts {
            all += range.length;
            if all > u64::from(u32::MAX) {
                break;
            }
            match writable {
                true => chain.writable.push(*range),
                false => chain.readable.push(*range),
            }
        }
        chain
    }

    /// What it gives to the device.
    pub fn gather(&self, memory: &[u8]) -> Vec<u8> {
        self.readable.iter().flat_map(|range| &memory[range.bytes()]).copied().collect()
    }

    /// Puts bytes where the device may write.
    pub fn scatter(&self, memory: &mut [u8], mut bytes: &[u8]) {
        for range in &self.writable {
            let (here, rest) = bytes.split_at(bytes.len().min(range.length as usize));
            memory[range.bytes()][..here.len()].copy_from_slice(here);
            bytes = rest;
        }
    }
}

/// A queue as it was set up.
#[derive(Debug)]
struct Ring {
    places: [u64; 3],
    size: u16,
    /// How many requests were given.
    made: u16,
    heads: Vec<u16>,
}

/// A driver of one device.
pub struct Driver {
    device: Mmio,
    memory: Memory,
    rings: Vec<Ring>,
    /// What was agreed on.
    pub features: u64,
    /// Everything was done by the rules since the device was set up.
    pub good: bool,
}

impl Driver {
    /// Makes a driver.
    pub fn new(device: Mmio, memory: &Memory) -> Driver {
        let memory = memory.clone();
        Driver { device, memory, rings: Vec::new(), features: 0, good: false }
    }

    /// Reads a register.
    pub fn get(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.device.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set(&self, offset: u64, value: u32) {
        self.device.write(offset, &value.to_le_bytes());
    }

    /// Reads and writes registers in whatever way.
    pub fn touch(&mut self, offset: u64, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        self.device.read(offset, &mut read);
        if offset == 0x70 {
            // A reset, or something that no driver does.
            self.check_used();
            self.good = false;
        }
        self.device.write(offset, bytes);
    }

    /// Writes into the guest's memory, where there is some.
    pub fn write(&mut self, place: Place, bytes: &[u8]) {
        self.good &= place.address() >= DATA;
        let _ = self.memory.write(bytes, place.address());
    }

    /// Resets the device: nothing of it runs any more.
    ///
    /// # Panics
    ///
    /// When it has given back what was not its own.
    pub fn reset(&mut self) {
        self.set(0x70, 0);
        assert_eq!(self.get(0x70), 0, "a reset device");
        self.check_used();
        self.good = false;
    }

    /// Sets the device up (3.1.1), and forgets what was before.
    pub fn begin(&mut self, setup: &Setup) {
        self.reset();
        self.set(0x70, 3);
        self.features = match setup {
            Setup::Good(features, _) => {
                let offered = [0, 1].map(|half| {
                    self.set(0x14, half);
                    u64::from(self.get(0x10)) << (32 * half)
                });
                features & (offered[0] | offered[1]) | VERSION_1
            }
            Setup::Any(features, _) => *features,
        };
        for half in [0, 1] {
            self.set(0x24, half);
            self.set(0x20, (self.features >> (32 * half)) as u32);
        }
        self.set(0x70, 11);
        self.rings.clear();
        for number in 0..QUEUES {
            self.set(0x30, number as u32);
            if self.get(0x34) == 0 {
                break;
            }
            let (size, places) = match setup {
                Setup::Good(_, size) => {
                    let at = number * 0x3000;
                    let nothing = [0; 0x3000];
                    self.memory.write(&nothing, at).expect("the rings");
                    (2 * MOST as u16 * (1 << (size % 4)), [at, at + 0x1000, at + 0x2000])
                }
                Setup::Any(_, queues) => {
                    let (size, places) = queues[number as usize];
                    (1_u16.wrapping_shl(size.into()), places.map(Place::address))
                }
            };
            self.set(0x38, size.into());
            for (offset, place) in [0x80, 0x90, 0xa0].into_iter().zip(places) {
                self.set(offset, place as u32);
                self.set(offset + 4, (place >> 32) as u32);
            }
            self.set(0x44, 1);
            self.rings.push(Ring { places, size, made: 0, heads: Vec::new() });
        }
        self.set(0x70, 15);
        self.good = matches!(setup, Setup::Good(..));
        // It may have failed already, because its other end is gone.
        assert!(!self.good || self.get(0x70) & 15 == 15, "a device that was set up does not run");
    }

    /// Gives the device a request; gives its queue and number.
    pub fn give(
        &mut self,
        queue: u8,
        indirect: bool,
        parts: &[(Range, bool)],
    ) -> Option<(usize, u16)> {
        let queue = usize::from(queue) % self.rings.len().max(1);
        let waiting = self.waiting(queue)?;
        let ring = self.rings.get_mut(queue)?;
        if parts.is_empty() || parts.len() > MOST || (self.good && waiting >= ring.size) {
            return None;
        }
        self.good &= !parts.iter().any(|(range, writable)| *writable && range.is_before_data());
        let [table, available, _] = ring.places;
        let size = ring.size.max(1);
        let head = (ring.made.wrapping_mul(MOST as u16)) % size;
        let (table, first, size) = match indirect {
            true => {
                let place = TABLES + u64::from(ring.made % 16) * 0x100;
                let length = parts.len() as u32 * 16;
                let address = table.wrapping_add(16 * u64::from(head));
                let bytes = descriptor(place, length, INDIRECT, 0);
                let _ = self.memory.write(&bytes, address);
                (place, 0, MOST as u16)
            }
            false => (table, head, size),
        };
        for (number, (range, writable)) in (0..).zip(parts) {
            let more = if usize::from(number) + 1 < parts.len() { NEXT } else { 0 };
            let flags = more | if *writable { WRITE } else { 0 };
            let [here, next] = [number, number + 1].map(|number| (first + number) % size);
            let bytes = descriptor(range.address, range.length as u32, flags, next);
            let _ = self.memory.write(&bytes, table.wrapping_add(16 * u64::from(here)));
        }
        let slot = 4 + 2 * u64::from(ring.made % ring.size.max(1));
        let _ = self.memory.write(&head.to_le_bytes(), available.wrapping_add(slot));
        let number = ring.made;
        ring.made = number.wrapping_add(1);
        ring.heads.push(head);
        let _ = self.memory.write(&ring.made.to_le_bytes(), available.wrapping_add(2));
        self.set(0x50, queue as u32);
        Some((queue, number))
    }

    fn word(&self, address: u64) -> Option<u16> {
        self.memory.map().read_obj(GuestAddress(address)).ok()
    }

    /// How many requests a queue has got and not given back.
    fn waiting(&self, queue: usize) -> Option<u16> {
        let ring = self.rings.get(queue)?;
        let used = self.word(ring.places[2].wrapping_add(2)).unwrap_or(0);
        Some(ring.made.wrapping_sub(used))
    }

    /// Waits for a request; gives how many bytes the device has written.
    ///
    /// # Panics
    ///
    /// When it does not come back, or another one in its place.
    pub fn wait(&self, (queue, number): (usize, u16)) -> u32 {
        let start = Instant::now();
        while self.waiting(queue) != Some(0) {
            assert!(start.elapsed() < Duration::from_secs(10), "a request does not come back");
            assert_eq!(self.get(0x70), 15, "a request has broken the device");
            std::thread::yield_now();
        }
        let ring = &self.rings[queue];
        let (head, length) = self.used(ring, number);
        assert_eq!(ring.heads.last(), Some(&head), "another request comes back");
        length
    }

    /// What the device has given back in its place.
    fn used(&self, ring: &Ring, number: u16) -> (u16, u32) {
        let place = ring.places[2] + 4 + 8 * u64::from(number % ring.size);
        let [head, length] = [0, 4].map(|at| {
            self.memory.map().read_obj::<u32>(GuestAddress(place + at)).expect("the used ring")
        });
        (u16::try_from(head).expect("a head"), length)
    }

    /// Looks at all that a device has given back, if it has been driven by the rules.
    fn check_used(&self) {
        for ring in self.rings.iter().filter(|_| self.good) {
            let used = self.word(ring.places[2] + 2).expect("the used ring");
            assert!(used <= ring.made, "{used} requests of {} came back", ring.made);
            for number in used.saturating_sub(ring.size)..used {
                let (head, _) = self.used(ring, number);
                assert!(ring.heads.contains(&head), "{head} was not given");
            }
        }
    }
}

fn descriptor(address: u64, length: u32, flags: u16, next: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..].copy_from_slice(&next.to_le_bytes());
    bytes
}
