//! A disk (section 5.2): a file or a block device of the host.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{self, FallocateFlags, FileType, FlockOperation, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use vm_memory::{Address, Bytes};

use super::parts::Parts;
use super::queue::{Active, Chain, Device, Model, Worker};
use crate::jail::{Call, calls};
use crate::memory::Memory;
use crate::options;

const BLOCK: u32 = 2;
/// Bytes of a sector, whatever the host's are.
const SECTOR: u64 = 512;

const SEGMENTS: u64 = 1 << 2;
const READ_ONLY: u64 = 1 << 5;
const FLUSH: u64 = 1 << 9;
const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

/// The most parts of a request: a queue less its header and its status.
const MOST_PARTS: u32 = 254;
/// The most ranges of a request that clears, and the most sectors of each.
const MOST_RANGES: u32 = 16;
const MOST_CLEARED: u32 = 1 << 16;

/// Bytes in front of a request, of a range in one that clears, and of a name (5.2.6).
const HEADER: usize = 16;
const RANGE: usize = 16;
const NAME: usize = 20;

/// How a request has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// `VIRTIO_BLK_S_IOERR`.
    Failed = 1,
    /// `VIRTIO_BLK_S_UNSUPP`.
    Unsupported = 2,
}

/// A disk.
struct Disk {
    file: OwnedFd,
    sectors: u64,
    read_only: bool,
    name: [u8; NAME],
    /// What the driver agreed on.
    features: u64,
    /// The host's first error was told.
    told: bool,
}

/// Opens a disk, which no other guest writes to meanwhile.
pub fn open(disk: &options::Disk) -> Result<Device> {
    let disk = Disk::open(&disk.path, disk.read_only)
        .with_context(|| format!("the disk {}", disk.path.display()))?;
    Ok((disk.model(), vec![Box::new(disk)]))
}

impl Disk {
    fn open(path: &Path, read_only: bool) -> Result<Disk> {
        let (access, lock) = match read_only {
            true => (OFlags::RDONLY, FlockOperation::NonBlockingLockShared),
            false => (OFlags::RDWR, FlockOperation::NonBlockingLockExclusive),
        };
        let flags = access | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match fs::open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => bail!("is not there: make it with `truncate --size 1G FILE`"),
            Err(error @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) if !read_only => {
                bail!("cannot be written ({error}): FILE:ro gives it for reading only")
            }
            Err(Errno::ISDIR) => bail!("is a directory; --mount gives one to a guest"),
            other => other.context("cannot be opened")?,
        };
        let kind = FileType::from_raw_mode(fs::fstat(&file)?.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::BlockDevice) {
            bail!("is neither a file nor a block device");
        }
        if let Err(error) = fs::flock(&file, lock) {
            bail!("is in use by another guest ({error}); several can share it as FILE:ro");
        }
        let bytes = fs::seek(&file, SeekFrom::End(0)).context("has no size")?;
        if bytes == 0 || !bytes.is_multiple_of(SECTOR) {
            bail!("has {bytes} bytes, which is no multiple of {SECTOR} above 0");
        }
        let mut name = [0; NAME];
        let given = path.file_name().unwrap_or_default().as_encoded_bytes();
        let given = given.iter().filter(|byte| byte.is_ascii_graphic());
        name.iter_mut().zip(given).for_each(|(to, from)| *to = *from);
        Ok(Disk { file, sectors: bytes / SECTOR, read_only, name, features: 0, told: false })
    }

    fn model(&self) -> Model {
        let mut configuration = self.sectors.to_le_bytes().to_vec();
        let mut put = |number: u32| configuration.extend(number.to_le_bytes());
        // The largest segment; the most segments; geometry; block size; topology; the cache's mode.
        [0, MOST_PARTS, 0, 0, 0, 0, 0].into_iter().for_each(&mut put);
        // Discarding, then zeroing: most sectors, most ranges; the alignment between, the permission behind.
        [MOST_CLEARED, MOST_RANGES, 1].into_iter().for_each(&mut put);
        [MOST_CLEARED, MOST_RANGES, 1].into_iter().for_each(put);
        let features = match self.read_only {
            true => READ_ONLY,
            false => DISCARD | WRITE_ZEROES,
        };
        Model {
            id: BLOCK,
            features: SEGMENTS | FLUSH | features,
            configuration,
            queues: 1,
            share: |_, _, _| vec![0],
        }
    }

    /// Carries a request out; gives how many bytes were written, its status among them.
    fn serve(&mut self, memory: &Memory, request: &Chain) -> u32 {
        // The status is the last byte of all.
        let last = request.clone().writable().last();
        let place = last.and_then(|last| {
            let before = u64::from(last.len()).checked_sub(1)?;
            last.addr().checked_add(before)
        });
        let Some(place) = place else {
            return 0;
        };
        let (status, length) = match self.carry_out(memory, request) {
            Ok(length) => (0, length),
            Err(failure) => (failure as u8, 0),
        };
        let written = memory.map().write_obj(status, place);
        written.map_or(0, |()| length.saturating_add(1))
    }

    /// Gives how many bytes of data were written to the driver's buffers.
    fn carry_out(&mut self, memory: &Memory, request: &Chain) -> Result<u32, Failure> {
        /// What a request is for.
        const READ: u32 = 0;
        const WRITE: u32 = 1;
        const SYNC: u32 = 4;
        const GET_NAME: u32 = 8;
        const CLEAR: u32 = 11;
        const ZERO: u32 = 13;
        let from = Parts::of(memory, request.clone().readable()).ok_or(Failure::Failed)?;
        let to = Parts::of(memory, request.clone().writable()).ok_or(Failure::Failed)?;
        let mut header = [0; HEADER];
        if from.copy_to(&mut header) < HEADER || to.len() == 0 {
            return Err(Failure::Failed);
        }
        let (to, _) = to.split(to.len() - 1);
        let (_, from) = from.split(HEADER);
        let (kind, sector) = (number(&header, 0) as u32, number(&header, 8));
        let changes = matches!(kind, WRITE | CLEAR | ZERO);
        if changes && self.read_only {
            return Err(Failure::Failed);
        }
        let length = u32::try_from(to.len()).map_err(|_| Failure::Failed)?;
        let file = self.file.as_fd();
        let done = match kind {
            READ => {
                let at = self.place(sector, to.len() as u64)?;
                all(to, at, |parts, at| parts.read_at(file, at))
            }
            WRITE => {
                let at = self.place(sector, from.len() as u64)?;
                all(from, at, |parts, at| parts.write_at(file, at))
            }
            SYNC => fs::fdatasync(&self.file).map_err(io::Error::from),
            GET_NAME => return Ok(to.copy_from(&self.name) as u32),
            CLEAR if self.features & DISCARD != 0 => self.clear(&from, false)?,
            ZERO if self.features & WRITE_ZEROES != 0 => self.clear(&from, true)?,
            _ => return Err(Failure::Unsupported),
        };
        // A driver that does not know of flushing relies on each write.
        let done = match changes && self.features & FLUSH == 0 {
            true => done.and_then(|()| Ok(fs::fdatasync(&self.file)?)),
            false => done,
        };
        match done {
            Ok(()) if kind == READ => Ok(length),
            Ok(()) => Ok(0),
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    say!("skete: a disk of the guest's fails at sector {sector}: {error}");
                }
                Err(Failure::Failed)
            }
        }
    }

    /// Where in the file a part of the disk begins.
    fn place(&self, sector: u64, length: u64) -> Result<u64, Failure> {
        let end = sector.checked_add(length / SECTOR);
        match length > 0
            && length.is_multiple_of(SECTOR)
            && end.is_some_and(|end| end <= self.sectors)
        {
            true => Ok(sector * SECTOR),
            false => Err(Failure::Failed),
        }
    }

    /// Discards ranges, or makes them zero (5.2.6.2).
    fn clear(&self, ranges: &Parts<'_>, zero: bool) -> Result<io::Result<()>, Failure> {
        /// A range to zero need not keep its place on the host.
        const UNMAP: u32 = 1;
        let mut bytes = [0; RANGE * MOST_RANGES as usize];
        let length = ranges.len();
        if length == 0 || !length.is_multiple_of(RANGE) || length > bytes.len() {
            return Err(Failure::Failed);
        }
        ranges.copy_to(&mut bytes);
        let mut places = Vec::with_capacity(1);
        for range in bytes[..length].chunks(RANGE) {
            let (sector, rest) = (number(range, 0), number(range, 8));
            let (count, flags) = (rest as u32, (rest >> 32) as u32);
            if flags & !UNMAP != 0 || (flags != 0 && !zero) {
                return Err(Failure::Unsupported);
            }
            if count > MOST_CLEARED {
                return Err(Failure::Failed);
            }
            let length = u64::from(count) * SECTOR;
            let hole = !zero || flags & UNMAP != 0;
            places.push((self.place(sector, length)?, length, hole));
        }
        let clear = |(at, length, hole)| {
            let how = match hole {
                true => FallocateFlags::PUNCH_HOLE,
                false => FallocateFlags::ZERO_RANGE,
            };
            match fs::fallocate(&self.file, how | FallocateFlags::KEEP_SIZE, at, length) {
                // A file system that cannot: discarding is a hint, zeros are not.
                Err(Errno::OPNOTSUPP) if zero => self.write_zeros(at, length),
                Err(Errno::OPNOTSUPP) => Ok(()),
                other => Ok(other?),
            }
        };
        Ok(places.into_iter().try_for_each(clear))
    }

    fn write_zeros(&self, at: u64, length: u64) -> io::Result<()> {
        const PIECE: u64 = 64 << 10;
        let mut zeros = vec![0; PIECE.min(length) as usize];
        for start in (0..length).step_by(PIECE as usize) {
            let (piece, _) = Parts::from(&mut zeros[..]).split((length - start) as usize);
            all(piece, at + start, |parts, at| parts.write_at(self.file.as_fd(), at))?;
        }
        Ok(())
    }
}

/// Eight bytes of a structure.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |some| u64::from_le_bytes(*some))
}

/// Repeats a call until all of a part of the file is done.
fn all(
    mut parts: Parts<'_>,
    mut at: u64,
    call: impl Fn(&Parts<'_>, u64) -> io::Result<usize>,
) -> io::Result<()> {
    while parts.len() > 0 {
        let length = call(&parts, at)?;
        if length == 0 {
            return Err(io::Error::other("the file has become shorter"));
        }
        (_, parts) = parts.split(length);
        at += length as u64;
    }
    Ok(())
}

impl Worker for Disk {
    fn calls(&self) -> &'static [Call] {
        calls! { SYS_preadv SYS_pwritev SYS_fdatasync SYS_fallocate }
    }

    fn run(&mut self, active: &mut Active) -> io::Result<()> {
        self.features = active.features;
        loop {
            active.serve(0, |memory, request| self.serve(memory, &request))?;
            if active.wait(None)?.is_none() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::tests::{Driver, Part};
    use super::*;

    const ALL: u64 = SEGMENTS | FLUSH | DISCARD | WRITE_ZEROES;

    fn disk(bytes: &[u8]) -> Result<tempfile::NamedTempFile> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(bytes)?;
        Ok(file)
    }

    fn driver(file: &tempfile::NamedTempFile, read_only: bool, features: u64) -> Result<Driver> {
        let path = file.path().to_path_buf();
        Driver::new(open(&options::Disk { path, read_only })?, features)
    }

    fn header(kind: u32, sector: u64) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat()
    }

    /// Does a request with data to be written; gives its status.
    fn put(driver: &mut Driver, kind: u32, sector: u64, data: &[u8]) -> Result<Vec<u8>> {
        let header = header(kind, sector);
        driver.request(0, &[Part::Read(&header), Part::Read(data), Part::Write(1)])
    }

    /// Does a request for data; gives that, and the status.
    fn get(driver: &mut Driver, kind: u32, sector: u64, length: u32) -> Result<Vec<u8>> {
        let header = header(kind, sector);
        let parts = [Part::Read(&header), Part::Write(length), Part::Write(1)];
        driver.request(0, &parts)
    }

    fn range(sector: u64, count: u32, flags: u32) -> Vec<u8> {
        let (count, flags) = (count.to_le_bytes(), flags.to_le_bytes());
        [&sector.to_le_bytes()[..], &count, &flags].concat()
    }

    #[test]
    fn what_is_written_is_in_the_file_and_read_again() -> Result<()> {
        let file = disk(&[1; 8 * 512])?;
        let mut driver = driver(&file, false, ALL)?;
        assert_eq!((driver.get(0x08), driver.get(0x100)), (BLOCK, 8));
        let data = (0..1024).map(|byte| byte as u8).collect::<Vec<_>>();
        for _ in 0..20 {
            assert_eq!(put(&mut driver, 1, 6, &data)?, [0]);
        }
        assert_eq!(put(&mut driver, 4, 0, &[])?, [0]);
        assert_eq!(std::fs::read(file.path())?[6 * 512..], data);
        assert_eq!(get(&mut driver, 0, 5, 512)?, [&[1; 512][..], &[0]].concat());
        assert_eq!(get(&mut driver, 0, 6, 1024)?, [&data[..], &[0]].concat());
        let name = get(&mut driver, 8, 0, 20)?;
        let given = file.path().file_name().unwrap_or_default();
        assert!(name.starts_with(given.as_encoded_bytes()), "{name:?}");
        // Parts need not be what they are most often.
        let head = header(1, 0);
        let parts = [
            Part::Read(&head[..3]),
            Part::Read(&[&head[3..], &data[..500]].concat()),
            Part::Read(&data[500..512]),
            Part::Write(1),
        ];
        assert_eq!(driver.request(0, &parts)?, [0]);
        assert_eq!(std::fs::read(file.path())?[..512], data[..512]);
        Ok(())
    }

    #[test]
    fn ranges_are_cleared() -> Result<()> {
        let file = disk(&[1; 64 * 512])?;
        let mut driver = driver(&file, false, ALL)?;
        assert_eq!(put(&mut driver, 13, 0, &range(2, 3, 0))?, [0]);
        let two = [range(8, 1, 1), range(10, 8, 1)].concat();
        assert_eq!(put(&mut driver, 13, 0, &two)?, [0]);
        assert_eq!(put(&mut driver, 11, 0, &range(32, 16, 0))?, [0]);
        let bytes = std::fs::read(file.path())?;
        assert_eq!(bytes.len(), 64 * 512);
        for (sector, bytes) in bytes.chunks(512).enumerate() {
            let zero = matches!(sector, 2..5 | 8 | 10..18 | 32..48);
            assert_eq!(bytes, [u8::from(!zero); 512], "{sector}");
        }
        for (kind, ranges, status) in [
            (13, range(63, 2, 0), 1),
            (13, range(u64::MAX, 1, 0), 1),
            (13, range(0, 0, 0), 1),
            (13, range(0, u32::MAX, 0), 1),
            (13, range(0, 1, 2), 2),
            (11, range(0, 1, 1), 2),
            (11, range(0, 1, 0)[1..].to_vec(), 1),
            (11, range(0, 1, 0).repeat(17), 1),
            (11, Vec::new(), 1),
        ] {
            assert_eq!(put(&mut driver, kind, 0, &ranges)?, [status], "{ranges:?}");
        }
        assert_eq!(std::fs::read(file.path())?, bytes);
        Ok(())
    }

    #[test]
    fn zeros_are_written_where_the_host_cannot_make_them() -> Result<()> {
        let file = disk(&[1; 300 * 512])?;
        Disk::open(file.path(), false)?.write_zeros(512, 298 * 512)?;
        let bytes = std::fs::read(file.path())?;
        assert!(bytes[..512] == [1; 512] && bytes[299 * 512..] == [1; 512]);
        assert!(bytes[512..299 * 512].iter().all(|byte| *byte == 0));
        Ok(())
    }

    #[test]
    fn bad_requests_fail_and_nothing_changes() -> Result<()> {
        let file = disk(&[1; 4 * 512])?;
        let mut driver = driver(&file, false, SEGMENTS)?;
        let data = [2; 1024];
        for (kind, sector, length) in [
            (1, 3, 1024),
            (1, 4, 512),
            (1, u64::MAX, 512),
            (1, u64::MAX / 512, 512),
            (1, 1 << 55, 512),
            (1, 0, 511),
            (1, 0, 0),
        ] {
            let status = put(&mut driver, kind, sector, &data[..length])?;
            assert_eq!(status, [1], "{sector} {length}");
        }
        // What was not agreed on, and what nobody knows.
        for kind in [11, 13, 2, u32::MAX] {
            assert_eq!(put(&mut driver, kind, 0, &range(0, 1, 0))?, [2], "{kind}");
        }
        let head = header(0, 0);
        let failed = |driver: &mut Driver, parts: &[Part<'_>], place: u64| -> Result<u8> {
            let (number, start) = driver.give(0, parts)?;
            assert_eq!(driver.wait(0, number)?, 1);
            Ok(driver.memory.map().read_obj(vm_memory::GuestAddress(start + place))?)
        };
        // Too much, or not a number of sectors.
        for length in [0, 511, 5 * 512] {
            let parts = [Part::Read(&head), Part::Write(length), Part::Write(1)];
            assert_eq!(failed(&mut driver, &parts, 16 + u64::from(length))?, 1);
        }
        // A header too short, and buffers that are not in the memory.
        let parts = [Part::Read(&head[..15]), Part::Write(1)];
        assert_eq!(failed(&mut driver, &parts, 15)?, 1);
        for (at, length) in [(2 << 20, 512), ((2 << 20) - 1, 512), (u64::MAX - 8, 512)] {
            let parts = [Part::Read(&head), Part::Raw(at, length, 2), Part::Write(1)];
            assert_eq!(failed(&mut driver, &parts, 16 + 512)?, 1);
            let parts = [Part::Read(&head), Part::Raw(at, length, 0), Part::Write(1)];
            assert_eq!(failed(&mut driver, &parts, 16 + 512)?, 1);
        }
        // No place for the status.
        for parts in [
            [Part::Read(&head), Part::Raw(u64::MAX - 3, 4, 2)],
            [Part::Read(&head), Part::Raw(2 << 20, 1, 2)],
            [Part::Read(&head), Part::Write(0)],
            [Part::Read(&head), Part::Read(&head)],
        ] {
            let (number, _) = driver.give(0, &parts)?;
            assert_eq!(driver.wait(0, number)?, 0);
        }
        assert_eq!(std::fs::read(file.path())?, [1; 4 * 512]);
        assert_eq!(get(&mut driver, 0, 3, 512)?.last(), Some(&0));
        Ok(())
    }

    #[test]
    fn a_disk_for_reading_stays_as_it_is() -> Result<()> {
        let file = disk(&[1; 512])?;
        let mut driver = driver(&file, true, SEGMENTS | READ_ONLY | FLUSH)?;
        driver.reset();
        assert!(driver.begin(DISCARD).is_err(), "not offered");
        driver.reset();
        driver.begin(READ_ONLY)?;
        assert_eq!(put(&mut driver, 1, 0, &[2; 512])?, [1]);
        assert_eq!(put(&mut driver, 13, 0, &range(0, 1, 0))?, [1]);
        assert_eq!(get(&mut driver, 0, 0, 512)?, [&[1; 512][..], &[0]].concat());
        assert_eq!(std::fs::read(file.path())?, [1; 512]);
        Ok(())
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error() -> Result<()> {
        let file = disk(&[1; 4 * 512])?;
        let mut driver = driver(&file, false, ALL)?;
        file.as_file().set_len(512)?;
        let (number, _) = driver.give(0, &[Part::Read(&header(0, 0)), Part::Write(1025)])?;
        assert_eq!(driver.wait(0, number)?, 1);
        assert_eq!(get(&mut driver, 0, 0, 512)?.last(), Some(&0));
        Ok(())
    }

    #[test]
    fn one_guest_writes_or_all_read() -> Result<()> {
        let file = disk(&[1; 512])?;
        let says = |read_only| match Disk::open(file.path(), read_only) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        let reader = Disk::open(file.path(), true)?;
        assert_eq!(says(true), "");
        assert!(says(false).contains("in use by another guest"));
        drop(reader);
        let _writer = Disk::open(file.path(), false)?;
        assert!(says(true).contains("in use by another guest"));
        Ok(())
    }

    #[test]
    fn what_is_no_disk_is_told() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        let says = |name: &str, read_only| match Disk::open(&path(name), read_only) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        std::fs::write(path("odd"), [0; 513])?;
        std::fs::write(path("empty"), [])?;
        rustix::fs::mkfifoat(fs::CWD, path("pipe"), Mode::RWXU)?;
        for (name, read_only, what) in [
            ("none", false, "is not there"),
            (".", false, "is a directory"),
            (".", true, "neither a file nor"),
            ("odd", true, "513 bytes"),
            ("empty", true, "0 bytes"),
            ("pipe", false, "neither a file nor"),
            ("pipe", true, "neither a file nor"),
        ] {
            assert!(says(name, read_only).contains(what), "{}", says(name, read_only));
        }
        Ok(())
    }
}
