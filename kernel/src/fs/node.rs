//! Files and directories of the memory file system, and what it means to have one open.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::bytes::Bytes;
use super::device::Device;
use super::{Options, reserve};
use crate::fd::{Object, Seek};
use crate::sync::Mutex;
use crate::{Error, Result, time};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    File,
    /// Names.
    Directory,
    /// A behaviour.
    Device,
}

/// What there is to know about a file. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// File, directory or device.
    pub kind: Kind,
    /// The file's number, which no other file has while this one exists.
    pub number: u64,
    /// How many names it has.
    pub links: u64,
    /// Permission bits.
    pub mode: u32,
    /// Bytes in a file.
    pub length: u64,
    /// When it was last read.
    pub accessed: i64,
    /// When its content last changed.
    pub modified: i64,
    /// When it, or what is known about it, last changed.
    pub changed: i64,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The file's number.
    pub number: u64,
    /// What it stands for.
    pub kind: Kind,
    /// Where the entry after this one is.
    pub next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    accessed: i64,
    modified: i64,
    changed: i64,
}

pub(super) type Names = BTreeMap<Vec<u8>, Arc<Node>>;

#[derive(Debug)]
enum Content {
    File(Mutex<Bytes>),
    Directory(Mutex<Names>),
    Device(Device),
}

/// A file, a directory or a device.
#[derive(Debug)]
pub struct Node {
    number: u64,
    mode: AtomicU32,
    links: AtomicU64,
    times: Mutex<Times>,
    content: Content,
}

/// The number of the next node.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Node {
    fn new(content: Content, mode: u32) -> Arc<Node> {
        let now = time::wall();
        Arc::new(Node {
            number: NUMBERS.fetch_add(1, Relaxed),
            mode: AtomicU32::new(mode & 0o7777),
            links: AtomicU64::new(1),
            times: Mutex::new(Times {
                accessed: now,
                modified: now,
                changed: now,
            }),
            content,
        })
    }

    pub(super) fn file(mode: u32) -> Arc<Node> {
        Self::new(Content::File(Mutex::new(Bytes::Owned(Vec::new()))), mode)
    }

    /// A file whose bytes are borrowed until somebody writes to it.
    pub(super) fn borrowed(bytes: &'static [u8], mode: u32) -> Arc<Node> {
        Self::new(Content::File(Mutex::new(Bytes::Borrowed(bytes))), mode)
    }

    pub(super) fn directory(mode: u32) -> Arc<Node> {
        Self::new(Content::Directory(Mutex::new(BTreeMap::new())), mode)
    }

    pub(super) fn device(device: Device) -> Arc<Node> {
        Self::new(Content::Device(device), 0o666)
    }

    pub(super) fn kind(&self) -> Kind {
        match self.content {
            Content::File(_) => Kind::File,
            Content::Directory(_) => Kind::Directory,
            Content::Device(_) => Kind::Device,
        }
    }

    /// Every node made from now on has this number or a higher one.
    pub(super) fn next_number() -> u64 {
        NUMBERS.load(Relaxed)
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The names of a directory.
    pub(super) fn names(&self) -> Result<&Mutex<Names>> {
        match &self.content {
            Content::Directory(names) => Ok(names),
            Content::File(_) | Content::Device(_) => Err(Error::NotADirectory),
        }
    }

    fn bytes(&self) -> Result<&Mutex<Bytes>> {
        match &self.content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory(_) => Err(Error::IsADirectory),
            Content::Device(_) => Err(Error::InvalidArgument),
        }
    }

    /// The node has got one more name.
    pub(super) fn linked(&self) {
        self.links.fetch_add(1, Relaxed);
        self.times.lock().changed = time::wall();
    }

    /// The node has lost a name.
    pub(super) fn unlinked(&self) {
        self.links.fetch_sub(1, Relaxed);
        self.times.lock().changed = time::wall();
    }

    pub(super) fn content_changed(&self) {
        let now = time::wall();
        let mut times = self.times.lock();
        (times.modified, times.changed) = (now, now);
    }

    /// What there is to know about it.
    pub fn metadata(&self) -> Metadata {
        let Times {
            accessed,
            modified,
            changed,
        } = *self.times.lock();
        let (length, children) = match &self.content {
            Content::File(bytes) => (bytes.lock().len() as u64, 0),
            Content::Device(_) => (0, 0),
            Content::Directory(names) => {
                let names = names.lock();
                (
                    0,
                    1 + names
                        .values()
                        .filter(|node| node.kind() == Kind::Directory)
                        .count() as u64,
                )
            }
        };
        Metadata {
            kind: self.kind(),
            number: self.number,
            links: self.links.load(Relaxed) + children,
            mode: self.mode.load(Relaxed),
            length,
            accessed,
            modified,
            changed,
        }
    }

    /// True when somebody may write to it.
    pub(super) fn is_writable(&self) -> bool {
        self.mode.load(Relaxed) & 0o222 != 0
    }

    /// Changes the permission bits.
    pub fn set_mode(&self, mode: u32) {
        self.mode.store(mode & 0o7777, Relaxed);
        self.times.lock().changed = time::wall();
    }

    /// Changes the times of the last access and of the last change of the content; `None` leaves one as it is.
    pub(super) fn set_times(&self, accessed: Option<i64>, modified: Option<i64>) {
        let mut times = self.times.lock();
        times.accessed = accessed.unwrap_or(times.accessed);
        times.modified = modified.unwrap_or(times.modified);
        times.changed = time::wall();
    }

    /// Changes a file's length.
    pub(super) fn set_length(&self, length: u64) -> Result<()> {
        let mut bytes = self.bytes()?.lock();
        let length = usize::try_from(length)
            .ok()
            .filter(|length| isize::try_from(*length).is_ok());
        let length = length.ok_or(Error::FileTooLarge)?;
        match length.checked_sub(bytes.len()) {
            None | Some(0) => bytes.truncate(length),
            Some(missing) => bytes.own(missing)?.resize(length, 0),
        }
        drop(bytes);
        self.content_changed();
        Ok(())
    }
}

/// An open file: a node and a position in it.
#[derive(Debug)]
pub struct OpenFile {
    node: Arc<Node>,
    options: Options,
    position: Mutex<u64>,
}

impl OpenFile {
    pub(super) const fn new(node: Arc<Node>, options: Options) -> OpenFile {
        OpenFile {
            node,
            options,
            position: Mutex::new(0),
        }
    }
}

impl Object for OpenFile {
    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        if !self.options.read {
            return Err(Error::BadDescriptor);
        }
        if let Content::Device(device) = self.node.content {
            return device.read(buffer);
        }
        let mut position = self.position.lock();
        let bytes = self.node.bytes()?.lock();
        let start = usize::try_from(*position)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let length = buffer.len().min(bytes.len() - start);
        buffer[..length].copy_from_slice(&bytes[start..start + length]);
        *position += length as u64;
        Ok(length)
    }

    fn write(&self, new: &[u8]) -> Result<usize> {
        if !self.options.write {
            return Err(Error::BadDescriptor);
        }
        if let Content::Device(device) = self.node.content {
            return device.write(new);
        }
        let mut position = self.position.lock();
        let mut bytes = self.node.bytes()?.lock();
        if self.options.append {
            *position = bytes.len() as u64;
        }
        if new.is_empty() {
            return Ok(0);
        }
        let start = usize::try_from(*position).map_err(|_| Error::FileTooLarge)?;
        let end = start
            .checked_add(new.len())
            .filter(|end| isize::try_from(*end).is_ok())
            .ok_or(Error::FileTooLarge)?;
        let missing = end.saturating_sub(bytes.len());
        let own = bytes.own(missing)?;
        if missing > 0 {
            own.resize(end, 0);
        }
        own[start..end].copy_from_slice(new);
        *position = end as u64;
        drop(bytes);
        self.node.content_changed();
        Ok(new.len())
    }

    fn seek(&self, to: Seek) -> Result<u64> {
        let mut position = self.position.lock();
        let target = match to {
            Seek::Start(target) => i64::try_from(target).ok(),
            Seek::Current(offset) => (*position as i64).checked_add(offset),
            Seek::End(offset) => (self.node.metadata().length as i64).checked_add(offset),
        };
        let target = target
            .and_then(|target| u64::try_from(target).ok())
            .ok_or(Error::InvalidArgument)?;
        *position = target;
        Ok(target)
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.node.metadata())
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
        Ok(())
    }

    fn entries(&self, take: &mut dyn FnMut(&Entry<'_>) -> bool) -> Result<()> {
        let names = self.node.names()?.lock();
        let mut position = self.position.lock();
        // Positions are the numbers of nodes: unlike places in the list, they survive that other names
        // come and go between two calls.
        let mut entries: Vec<_> = Vec::new();
        reserve(&mut entries, names.len())?;
        entries.extend(names.iter().filter(|(_, node)| node.number >= *position));
        entries.sort_unstable_by_key(|(_, node)| node.number);
        for (name, node) in entries {
            let next = node.number + 1;
            if !take(&Entry {
                name,
                number: node.number,
                kind: node.kind(),
                next,
            }) {
                break;
            }
            *position = next;
        }
        Ok(())
    }
}
