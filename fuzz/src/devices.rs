//! The monitor's virtio devices, from their registers to what they do on the host: whatever a driver writes to
//! registers and into its memory, nothing else changes, and a device can be reset. To one that keeps to the rules a
//! disk does exactly what it should.

mod disk;
mod driver;
mod room;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use arbitrary::{Arbitrary, Unstructured};
use skete_hypervisor::devices::channel::{self, Name};
use skete_hypervisor::devices::mmio::Mmio;
use skete_hypervisor::devices::passt::Passt;
use skete_hypervisor::devices::{entropy, net};

use disk::{CLEAR, Disk, KINDS, READ, ZERO};
use driver::{Chain, DATA, Driver, Place, Range, Setup};
use room::{Room, contents};

/// Which device.
#[derive(Arbitrary, Debug)]
enum Kind {
    Disk,
    ReadOnlyDisk,
    Entropy,
    Channel,
    Card,
}

/// One thing that happens.
#[derive(Arbitrary, Debug)]
enum Step {
    /// The driver sets the device up, and does not have to reset it before.
    Begin(Setup),
    /// It makes a request as disks have them: what for, where, how many sectors or ranges, and its data's place.
    Usual(u8, Number, u8, u16),
    /// It makes any request, with an indirect descriptor or without.
    Request(u8, bool, Vec<Part>),
    /// It reads and writes a register.
    Register(u8, Word),
    /// It writes into its memory, often while the device reads that.
    Memory(Place, Word),
    Reset,
    Host(Host),
}

/// A part of a request: what is in it, and whether the device may write there.
#[derive(Arbitrary, Debug)]
enum Part {
    /// The beginning of a disk's request, or a part of it.
    Header(u8, Number, u8),
    /// What a disk should clear.
    Range(Number, Number, u8),
    /// A byte in its own place, for a status.
    Byte,
    /// So many sectors.
    Sectors(Place, u8, bool),
    Any(Place, u32, bool),
}

/// A number that is often a good one.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Small(u8),
    NearEnd(u8),
    Any(u64),
}

impl Number {
    fn get(self) -> u64 {
        match self {
            Number::Small(number) => (number % 20).into(),
            Number::NearEnd(back) => u64::MAX - u64::from(back),
            Number::Any(number) => number,
        }
    }
}

/// What is written at once.
#[derive(Arbitrary, Debug)]
enum Word {
    One(u8),
    Two(u16),
    Four(u32),
    Eight(u64),
}

impl Word {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Word::One(value) => vec![*value],
            Word::Two(value) => value.to_le_bytes().into(),
            Word::Four(value) => value.to_le_bytes().into(),
            Word::Eight(value) => value.to_le_bytes().into(),
        }
    }
}

/// What the other end of a channel or a card does.
#[derive(Arbitrary, Debug)]
enum Host {
    Connect,
    /// Sends bytes, with their length in front or not.
    Send(bool, Vec<u8>),
    Receive,
    Close,
}

/// A machine with a device.
struct Machine<'a> {
    room: &'a Room,
    driver: Driver,
    disk: Option<Disk>,
    is_entropy: bool,
    other_end: Option<UnixStream>,
    channel: Option<(Name, PathBuf, tempfile::TempDir)>,
}

/// Does what the bytes mean.
///
/// # Panics
///
/// When a device does what it must not.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(kind) = Kind::arbitrary(&mut input) else {
        return;
    };
    let room = Room::take();
    let room = room.as_ref().expect("the guest's memory");
    let mut machine = Machine::new(&kind, room);
    machine.step(Step::Begin(Setup::Good(u64::MAX, 0)));
    // Enough for every path of the code, and bounded in time.
    for _ in 0..100 {
        let Ok(step) = Step::arbitrary(&mut input) else {
            break;
        };
        machine.step(step);
        if input.is_empty() {
            break;
        }
    }
    machine.driver.reset();
    if let Some(disk) = machine.disk {
        disk.check();
    }
    room.check();
}

impl Machine<'_> {
    fn new<'a>(kind: &Kind, room: &'a Room) -> Machine<'a> {
        let (mut disk, mut other_end, mut channel) = (None, None, None);
        let (model, workers) = match kind {
            Kind::Disk | Kind::ReadOnlyDisk => {
                let (made, device) = Disk::new(matches!(kind, Kind::ReadOnlyDisk));
                disk = Some(made);
                device
            }
            Kind::Entropy => entropy::source(),
            Kind::Channel => {
                let directory = tempfile::tempdir().expect("a directory");
                let path = directory.path().join("channel");
                let (device, name) = channel::listen(&path).expect("a channel");
                channel = Some((name, path, directory));
                device
            }
            Kind::Card => {
                let (socket, other) = UnixStream::pair().expect("sockets");
                socket.set_nonblocking(true).expect("a socket");
                other.set_nonblocking(true).expect("a socket");
                other_end = Some(other);
                net::on_passt(Passt::new(socket)).expect("a card")
            }
        };
        let device = Mmio::new(room.memory(), model, workers, false).expect("a device");
        let driver = Driver::new(device, room.memory());
        let is_entropy = matches!(kind, Kind::Entropy);
        Machine { room, driver, disk, is_entropy, other_end, channel }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Begin(setup) => {
                self.driver.begin(&setup);
                self.forget();
            }
            Step::Usual(kind, sector, count, at) => {
                let wanted = KINDS[usize::from(kind) % KINDS.len()];
                let place = Place::Data(at);
                let mut parts = vec![Part::Header(kind, sector, 0)];
                match wanted {
                    READ => parts.push(Part::Sectors(place, count, true)),
                    CLEAR | ZERO => {
                        let range = || Part::Range(sector, Number::Small(count), (at % 4) as u8);
                        parts.extend((0..1 + count % 4).map(|_| range()));
                    }
                    _ => parts.push(Part::Sectors(place, count, false)),
                }
                parts.push(Part::Byte);
                self.request(0, at % 2 == 0, &parts);
            }
            Step::Request(queue, indirect, parts) => self.request(queue, indirect, &parts),
            Step::Register(number, word) => {
                /// Those that can be written, and a few others.
                const OFFSETS: [u64; 20] = [
                    0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x84, 0x90, 0x94,
                    0xa0, 0xa4, 0x00, 0x34, 0x60, 0x100, 0xffc,
                ];
                let offset = OFFSETS[usize::from(number) % OFFSETS.len()];
                self.driver.touch(offset, &word.bytes());
            }
            Step::Memory(place, word) => self.driver.write(place, &word.bytes()),
            Step::Reset => self.driver.reset(),
            Step::Host(host) => self.host(host),
        }
        self.forget();
    }

    /// What a disk does when its driver breaks the rules is not known.
    fn forget(&mut self) {
        if let Some(disk) = self.disk.as_mut().filter(|_| !self.driver.good) {
            disk.forget();
        }
    }

    fn request(&mut self, queue: u8, indirect: bool, parts: &[Part]) {
        let mut place = DATA;
        let mut ranges = Vec::new();
        for part in parts {
            let mut own = |bytes: &[u8]| {
                let _ = self.room.memory().write(bytes, place);
                let range = Range { address: place, length: bytes.len() as u64 };
                place += range.length;
                range
            };
            ranges.push(match part {
                Part::Header(kind, sector, cut) => {
                    let kind = KINDS[usize::from(*kind) % KINDS.len()];
                    let mut bytes = u64::from(kind).to_le_bytes().to_vec();
                    bytes.extend(sector.get().to_le_bytes());
                    // Most often all of it.
                    bytes.truncate(usize::from(*cut).max(16) - usize::from(*cut).min(15));
                    (own(&bytes), false)
                }
                Part::Range(sector, count, flags) => {
                    let count = count.get() & 0xffff_ffff;
                    let rest = count | u64::from(*flags % 4) << 32;
                    let bytes = [sector.get().to_le_bytes(), rest.to_le_bytes()].concat();
                    (own(&bytes), false)
                }
                Part::Byte => (own(&[0xee]), true),
                Part::Sectors(at, count, writable) => {
                    let length = u64::from(count % 20) * 512;
                    (Range { address: at.address(), length }, *writable)
                }
                Part::Any(at, length, writable) => {
                    (Range { address: at.address(), length: (*length).into() }, *writable)
                }
            });
        }
        let mut expected = contents(self.room.memory());
        let Some(request) = self.driver.give(queue, indirect, &ranges) else {
            return;
        };
        if !self.driver.good || (self.disk.is_none() && !self.is_entropy) {
            return;
        }
        let length = self.driver.wait(request);
        let chain = Chain::new(&ranges);
        let got = contents(self.room.memory());
        let wanted = match &mut self.disk {
            Some(disk) => disk.carry_out(&mut expected, &chain, self.driver.features),
            None => random(&mut expected, &got, &chain),
        };
        assert_eq!(length, wanted, "bytes written for {chain:?}");
        let same = expected[DATA as usize..] == got[DATA as usize..];
        assert!(same, "another answer to {chain:?}");
    }

    fn host(&mut self, host: Host) {
        match host {
            Host::Connect => {
                if let Some((_, path, _)) = &self.channel {
                    let stream = UnixStream::connect(path).expect("a channel");
                    stream.set_nonblocking(true).expect("a socket");
                    self.other_end = Some(stream);
                }
            }
            Host::Send(with_length, bytes) => {
                if let Some(stream) = &mut self.other_end {
                    let length = (bytes.len() as u32).to_be_bytes();
                    let _ = stream.write(if with_length { &length } else { &[] });
                    let _ = stream.write(&bytes);
                }
            }
            Host::Receive => {
                if let Some(stream) = &mut self.other_end {
                    let _ = stream.read(&mut [0; 5000]);
                }
            }
            Host::Close => self.other_end = None,
        }
    }
}

/// Takes what random numbers are where they may be; gives how many there should be.
fn random(expected: &mut [u8], got: &[u8], chain: &Chain) -> u32 {
    const MOST: u64 = 4096;
    if !chain.writable.iter().all(Range::is_memory) {
        return 0;
    }
    let mut left = MOST;
    for range in &chain.writable {
        let length = range.length.min(left);
        let bytes = range.address as usize..(range.address + length) as usize;
        expected[bytes.clone()].copy_from_slice(&got[bytes]);
        left -= length;
    }
    (MOST - left) as u32
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// The requests to disks that were answered, with how they ended.
    static SEEN: Mutex<Vec<(u32, u8)>> = Mutex::new(Vec::new());

    pub fn note(kind: u32, answer: &Result<Vec<u8>, u8>) {
        let status = answer.as_ref().err().copied().unwrap_or(0);
        SEEN.lock().expect("the list").push((kind, status));
    }

    #[test]
    fn devices_do_what_they_should_and_nothing_else() {
        crate::seeds::drive(2_000, 2_000, run);
        let seen = SEEN.lock().expect("the list");
        // Inputs that never get far would find nothing.
        let all = [(0, [0, 1]), (1, [0, 1]), (2, [2, 2]), (4, [0, 0]), (8, [0, 0])];
        let cleared = [(11, [0, 1]), (11, [2, 2]), (13, [0, 1]), (13, [2, 2])];
        for (kind, statuses) in all.into_iter().chain(cleared) {
            let comes_up = |status| seen.contains(&(kind, status));
            assert!(statuses.into_iter().all(comes_up), "request {kind} not with {statuses:?}");
        }
    }
}
