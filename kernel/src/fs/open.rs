//! What it means to have a file open.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::bytes::LONGEST;
use super::lock::Lock;
use super::node::{Content, Entry, Kind, Metadata, Node};
use super::{Options, room};
use crate::fd::{Object, Parts, PartsMut, Seek};
use crate::sync::Mutex;
use crate::{Error, Result};

/// An open file: a node and a position in it.
#[derive(Debug)]
pub struct OpenFile {
    node: Arc<Node>,
    options: Options,
    position: Mutex<u64>,
    /// How this file, and no other that has the node open, holds its lock.
    held: Mutex<Option<Lock>>,
    /// What was made when it was opened.
    report: Option<Vec<u8>>,
}

impl OpenFile {
    /// Opens a node; the caller has checked that it may be opened like this.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`].
    pub(super) fn open(node: Arc<Node>, options: Options) -> Result<Arc<OpenFile>> {
        let report = match &node.content {
            Content::Report(report) => Some(report.text()?),
            _ => None,
        };
        room::share(OpenFile {
            node,
            options,
            position: Mutex::new(0),
            held: Mutex::new(None),
            report,
        })
    }

    /// Reads at an offset, which those that have none do not care for.
    fn read_from(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        if let Content::Device(device) = self.node.content {
            return device.read(buffer);
        }
        if let Some(report) = &self.report {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let rest = report.get(start..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            return Ok(length);
        }
        Ok(self.node.bytes()?.lock().read_at(buffer, offset))
    }

    /// Writes parts one after the other, at an offset or (with `append`) at the end, between which nobody else
    /// writes. Tells how many bytes, and where the last of them ends.
    fn write_parts(&self, parts: Parts<'_>, offset: u64) -> Result<(usize, u64)> {
        let mut bytes = self.node.bytes()?.lock();
        let mut end = offset;
        let mut total = 0;
        for part in parts.filter(|part| !part.is_empty()) {
            if total == 0 && self.options.append {
                end = bytes.length();
            }
            match bytes.write_at(part, end) {
                Ok(written) => {
                    total += written;
                    end += written as u64;
                    if written < part.len() {
                        break;
                    }
                }
                Err(error) if total == 0 => return Err(error),
                // What was written counts; the next call tells what is wrong.
                Err(_) => break,
            }
        }
        drop(bytes);
        if total > 0 {
            self.node.content_changed();
        }
        Ok((total, end))
    }

    fn readable(&self) -> Result<()> {
        self.options.read.then_some(()).ok_or(Error::BadDescriptor)
    }

    fn writable(&self) -> Result<()> {
        self.options.write.then_some(()).ok_or(Error::BadDescriptor)
    }
}

impl Object for OpenFile {
    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.read_vectored(&mut core::iter::once(buffer))
    }

    fn write(&self, bytes: &[u8]) -> Result<usize> {
        self.write_vectored(&mut core::iter::once(bytes))
    }

    fn read_vectored(&self, parts: PartsMut<'_>) -> Result<usize> {
        self.readable()?;
        if let Content::Device(device) = self.node.content {
            // Reading may wait, so no lock is held.
            let mut total = 0;
            for part in parts {
                let length = device.read(part)?;
                total += length;
                if length < part.len() {
                    break;
                }
            }
            return Ok(total);
        }
        let mut position = self.position.lock();
        let mut total = 0;
        for part in parts {
            match self.read_from(part, *position) {
                Ok(length) => {
                    *position += length as u64;
                    total += length;
                    if length < part.len() {
                        break;
                    }
                }
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if total > 0 {
            self.node.content_read();
        }
        Ok(total)
    }

    fn write_vectored(&self, parts: Parts<'_>) -> Result<usize> {
        self.writable()?;
        if let Content::Device(device) = self.node.content {
            let mut total = 0;
            for part in parts {
                total += device.write(part)?;
            }
            return Ok(total);
        }
        let mut position = self.position.lock();
        let (total, end) = self.write_parts(parts, *position)?;
        if total > 0 {
            *position = end;
        }
        Ok(total)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        offset_of_file(offset)?;
        if let Content::Device(device) = self.node.content {
            device.seekable()?;
        }
        self.readable()?;
        let length = self.read_from(buffer, offset)?;
        if length > 0 {
            self.node.content_read();
        }
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        offset_of_file(offset)?;
        if let Content::Device(device) = self.node.content {
            device.seekable()?;
            self.writable()?;
            return device.write(bytes);
        }
        self.writable()?;
        let (total, _) = self.write_parts(&mut core::iter::once(bytes), offset)?;
        Ok(total)
    }

    fn seek(&self, to: Seek) -> Result<u64> {
        if let Content::Device(device) = self.node.content {
            device.seekable()?;
            return Ok(0);
        }
        let mut position = self.position.lock();
        let target = match to {
            Seek::Start(target) => i64::try_from(target).ok(),
            Seek::Current(offset) => (*position as i64).checked_add(offset),
            Seek::End(_) if self.node.kind() == Kind::Directory => None,
            Seek::End(offset) => {
                let length = match &self.report {
                    Some(report) => report.len() as u64,
                    None => self.node.metadata().length,
                };
                (length as i64).checked_add(offset)
            }
        };
        let target =
            target.and_then(|target| u64::try_from(target).ok()).ok_or(Error::InvalidArgument)?;
        *position = target;
        Ok(target)
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.node.metadata())
    }

    fn options(&self) -> Option<Options> {
        Some(self.options)
    }

    fn set_length(&self, length: u64) -> Result<()> {
        if !self.options.write {
            return Err(Error::InvalidArgument);
        }
        self.node.set_length(length)
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        self.node.set_mode(mode);
        Ok(())
    }

    fn set_times(&self, accessed: Option<i64>, modified: Option<i64>) -> Result<()> {
        self.node.set_times(accessed, modified);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        // Memory is as far as it goes.
        match self.node.kind() {
            Kind::Device => Err(Error::InvalidArgument),
            _ => Ok(()),
        }
    }

    fn lock(&self, lock: Lock, wait: bool) -> Result<()> {
        loop {
            let mut held = self.held.lock();
            if *held == Some(lock) {
                return Ok(());
            }
            // As flock(2) has it: what is held goes first, whether or not the other can be had.
            if let Some(other) = held.take() {
                self.node.lock.release(other);
            }
            if self.node.lock.attempt(lock) {
                *held = Some(lock);
                return Ok(());
            }
            drop(held);
            if !wait {
                return Err(Error::WouldBlock);
            }
            self.node.lock.wait(lock);
        }
    }

    fn unlock(&self) -> Result<()> {
        if let Some(lock) = self.held.lock().take() {
            self.node.lock.release(lock);
        }
        Ok(())
    }

    fn entries(&self, take: &mut dyn FnMut(&Entry<'_>) -> bool) -> Result<()> {
        let names = self.node.names()?.lock();
        let mut position = self.position.lock();
        for (number, name, node) in names.from(*position) {
            let next = number + 1;
            if !take(&Entry { name, number: node.number(), kind: node.kind(), next }) {
                break;
            }
            *position = next;
        }
        Ok(())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let _ = self.unlock();
    }
}

fn offset_of_file(offset: u64) -> Result<()> {
    (offset <= LONGEST).then_some(()).ok_or(Error::InvalidArgument)
}
