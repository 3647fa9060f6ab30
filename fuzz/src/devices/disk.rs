//! A disk as it should be: what a request does to the guest's memory and to the file (5.2.6).

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};
use skete_hypervisor::devices::block;
use skete_hypervisor::devices::queue::Device;
use skete_hypervisor::options;

use super::driver::{Chain, Range};

/// Sectors of the disk, and bytes of one.
const SECTORS: u64 = 16;
const SECTOR: u64 = 512;

const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

/// What a request is for.
pub const READ: u32 = 0;
const WRITE: u32 = 1;
const SYNC: u32 = 4;
const NAME: u32 = 8;
pub const CLEAR: u32 = 11;
pub const ZERO: u32 = 13;
/// All of them, and what nobody knows.
pub const KINDS: [u32; 8] = [READ, WRITE, SYNC, NAME, CLEAR, ZERO, 2, u32::MAX];

/// Why a request fails: its status.
const FAILED: u8 = 1;
const UNSUPPORTED: u8 = 2;

/// A disk and what should be on it.
#[derive(Debug)]
pub struct Disk {
    file: File,
    read_only: bool,
    name: String,
    sectors: Vec<u8>,
    /// No request has been carried out that only the device knows.
    known: bool,
}

impl Disk {
    /// Makes one, and the device.
    pub fn new(read_only: bool) -> (Disk, Device) {
        let file = memfd_create("disk", MemfdFlags::CLOEXEC).expect("a file");
        let mut file = File::from(file);
        let sectors = (0..SECTORS * SECTOR).map(|at| (at / SECTOR + at) as u8 | 1);
        let sectors = sectors.collect::<Vec<_>>();
        file.write_all(&sectors).expect("a file");
        let name = file.as_raw_fd().to_string();
        let path = PathBuf::from(format!("/proc/self/fd/{name}"));
        let device = block::open(&options::Disk { path, read_only }).expect("a disk");
        (Disk { file, read_only, name, sectors, known: true }, device)
    }

    /// Forgets what should be on it.
    pub fn forget(&mut self) {
        self.known = false;
    }

    /// Carries a request out in a copy of the guest's memory; gives how many bytes are written there.
    pub fn carry_out(&mut self, memory: &mut [u8], chain: &Chain, features: u64) -> u32 {
        let Some(last) = chain.writable.last().filter(|last| last.length > 0) else {
            return 0;
        };
        let (status, written) = match self.answer(memory, chain, features) {
            Ok(bytes) => {
                chain.scatter(memory, &bytes);
                (0, bytes.len() as u32 + 1)
            }
            Err(status) => (status, 1),
        };
        match last.address.checked_add(last.length - 1) {
            Some(place) if place < memory.len() as u64 => memory[place as usize] = status,
            _ => return 0,
        }
        written
    }

    /// What is written in front of the status.
    fn answer(&mut self, memory: &[u8], chain: &Chain, features: u64) -> Result<Vec<u8>, u8> {
        let all = chain.readable.iter().chain(&chain.writable);
        if !all.clone().all(Range::is_memory) {
            return Err(FAILED);
        }
        let given = chain.gather(memory);
        let Some((header, given)) = given.split_at_checked(16) else {
            return Err(FAILED);
        };
        let room = chain.writable.iter().map(|range| range.length).sum::<u64>() - 1;
        let (kind, sector) = (number(header, 0) as u32, number(header, 8));
        let answer = self.do_kind(kind, sector, given, room, features);
        #[cfg(test)]
        super::tests::note(kind, &answer);
        answer
    }

    fn do_kind(
        &mut self,
        kind: u32,
        sector: u64,
        given: &[u8],
        room: u64,
        features: u64,
    ) -> Result<Vec<u8>, u8> {
        if self.read_only && [WRITE, CLEAR, ZERO].contains(&kind) {
            return Err(FAILED);
        }
        match kind {
            READ => Ok(self.sectors[place(sector, room)?].to_vec()),
            WRITE => {
                self.sectors[place(sector, given.len() as u64)?].copy_from_slice(given);
                Ok(Vec::new())
            }
            SYNC => Ok(Vec::new()),
            NAME => {
                let mut name = self.name.clone().into_bytes();
                name.resize(20, 0);
                name.truncate(room as usize);
                Ok(name)
            }
            CLEAR if features & DISCARD != 0 => self.clear(given, 0),
            ZERO if features & WRITE_ZEROES != 0 => self.clear(given, 1),
            _ => Err(UNSUPPORTED),
        }
    }

    /// Clears ranges, all or none.
    fn clear(&mut self, ranges: &[u8], known: u32) -> Result<Vec<u8>, u8> {
        if ranges.is_empty() || !ranges.len().is_multiple_of(16) || ranges.len() > 16 * 16 {
            return Err(FAILED);
        }
        let mut places = Vec::new();
        for range in ranges.chunks(16) {
            let (sector, count) = (number(range, 0), number(range, 8) as u32);
            if (number(range, 8) >> 32) as u32 & !known != 0 {
                return Err(UNSUPPORTED);
            }
            places.push(place(sector, u64::from(count) * SECTOR)?);
        }
        places.into_iter().for_each(|place| self.sectors[place].fill(0));
        Ok(Vec::new())
    }

    /// Looks at the file.
    ///
    /// # Panics
    ///
    /// When it is not as it should be.
    pub fn check(&self) {
        let length = self.file.metadata().expect("a file").len();
        assert_eq!(length, SECTORS * SECTOR, "the file has another length");
        if self.known || self.read_only {
            let mut bytes = vec![0; length as usize];
            self.file.read_exact_at(&mut bytes, 0).expect("a file");
            assert!(bytes == self.sectors, "the file holds something else");
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes[at..at + 8].try_into().expect("eight bytes");
    u64::from_le_bytes(bytes)
}

/// Where in the file so many bytes are.
fn place(sector: u64, length: u64) -> Result<std::ops::Range<usize>, u8> {
    let (start, length) = (u128::from(sector) * u128::from(SECTOR), u128::from(length));
    let end = start + length;
    if length == 0 || length % u128::from(SECTOR) != 0 || end > u128::from(SECTORS * SECTOR) {
        return Err(FAILED);
    }
    Ok(start as usize..end as usize)
}
