//! A disk as a file: bytes at positions, as many as it holds.

use alloc::sync::Arc;

use super::drivers::Driver;
use super::lock::Lock;
use super::node::{Kind, Metadata};
use super::open::OpenFile;
use super::{Options, room};
use crate::drivers::block::Disk;
use crate::fd::{Object, Seek};
use crate::sync::Mutex;
use crate::{Error, Result};

/// An open disk.
struct DiskFile {
    disk: &'static Disk,
    /// The node's, for all that is not about bytes.
    file: Arc<OpenFile>,
    options: Options,
    position: Mutex<u64>,
}

impl Driver for Disk {
    fn kind(&self) -> Kind {
        Kind::Disk
    }

    fn length(&self) -> u64 {
        self.capacity()
    }

    fn open(&'static self, file: Arc<OpenFile>, options: Options) -> Result<Arc<dyn Object>> {
        if options.write && self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        Ok(room::share(DiskFile { disk: self, file, options, position: Mutex::new(0) })?)
    }
}

impl DiskFile {
    fn read_from(&self, buffer: &mut [u8], position: u64) -> Result<usize> {
        match self.options.read {
            true => self.disk.read_at(buffer, position),
            false => Err(Error::BadDescriptor),
        }
    }

    /// Writes at a position, or (with `append`, as on Linux) at the end, where there is no room.
    fn write_to(&self, bytes: &[u8], position: u64) -> Result<usize> {
        let position = match self.options.append {
            true => self.disk.capacity(),
            false => position,
        };
        match self.options.write {
            true => self.disk.write_at(bytes, position),
            false => Err(Error::BadDescriptor),
        }
    }
}

impl Object for DiskFile {
    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let mut position = self.position.lock();
        let length = self.read_from(buffer, *position)?;
        *position += length as u64;
        Ok(length)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize> {
        let mut position = self.position.lock();
        let length = self.write_to(bytes, *position)?;
        *position += length as u64;
        Ok(length)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.read_from(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        self.write_to(bytes, offset)
    }

    /// A position behind the end is none, as on Linux.
    fn seek(&self, to: Seek) -> Result<u64> {
        let mut position = self.position.lock();
        let end = self.disk.capacity();
        let target = match to {
            Seek::Start(target) => Some(target),
            Seek::Current(offset) => position.checked_add_signed(offset),
            Seek::End(offset) => end.checked_add_signed(offset),
        };
        *position = target.filter(|target| *target <= end).ok_or(Error::InvalidArgument)?;
        Ok(*position)
    }

    fn metadata(&self) -> Result<Metadata> {
        self.file.metadata()
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        self.file.set_mode(mode)
    }

    fn set_times(&self, accessed: Option<i64>, modified: Option<i64>) -> Result<()> {
        self.file.set_times(accessed, modified)
    }

    fn sync(&self) -> Result<()> {
        self.disk.flush()
    }

    fn options(&self) -> Option<Options> {
        Some(self.options)
    }

    fn lock(&self, lock: Lock, wait: bool) -> Result<()> {
        self.file.lock(lock, wait)
    }

    fn unlock(&self) -> Result<()> {
        self.file.unlock()
    }
}
