//! Files, directories, links and devices of the memory file system.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::bytes::Bytes;
use super::device::Device;
use super::drivers::Driver;
use super::lock::Holders;
use super::names::Names;
use super::report::Report;
use super::room;
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
    /// Another path.
    Link,
    /// A disk.
    Disk,
}

/// What there is to know about a file. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// File, directory, device or symbolic link.
    pub kind: Kind,
    /// The file's number, which no other file has while this one exists.
    pub number: u64,
    /// How many names it has.
    pub links: u64,
    /// Permission bits.
    pub mode: u32,
    /// Bytes in a file, on a disk, or in the path of a symbolic link.
    pub length: u64,
    /// Bytes that it takes in memory.
    pub stored: u64,
    /// When it was last read, if it was not changed since.
    pub accessed: i64,
    /// When its content last changed.
    pub modified: i64,
    /// When it, or what is known about it, last changed.
    pub changed: i64,
    /// When it was made.
    pub created: i64,
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

#[derive(Debug)]
pub(super) enum Content {
    File(Mutex<Bytes>),
    Directory(Mutex<Names>),
    Device(Device),
    /// A symbolic link: the path it stands for.
    Link(Vec<u8>),
    /// A file whose text is made when it is opened.
    Report(Report),
    /// A device of the machine.
    Driver(&'static dyn Driver),
}

/// What names stand for.
#[derive(Debug)]
pub struct Node {
    number: u64,
    mode: AtomicU32,
    links: AtomicU64,
    created: i64,
    times: Mutex<Times>,
    pub(super) content: Content,
    pub(super) lock: Holders,
}

/// The number of the next node.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Node {
    fn new(content: Content, mode: u32) -> Result<Arc<Node>> {
        room::check(size_of::<Node>())?;
        let now = time::wall();
        room::share(Node {
            number: NUMBERS.fetch_add(1, Relaxed),
            mode: AtomicU32::new(mode & 0o7777),
            links: AtomicU64::new(1),
            created: now,
            times: Mutex::new(Times { accessed: now, modified: now, changed: now }),
            content,
            lock: Holders::new(),
        })
    }

    /// An empty file.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`], as for the others below.
    pub(super) fn file(mode: u32) -> Result<Arc<Node>> {
        Self::new(Content::File(Mutex::new(Bytes::new())), mode)
    }

    /// A file whose bytes are borrowed until somebody writes to it.
    pub(super) fn borrowed(bytes: &'static [u8], mode: u32) -> Result<Arc<Node>> {
        Self::new(Content::File(Mutex::new(Bytes::borrowed(bytes))), mode)
    }

    pub(super) fn directory(mode: u32) -> Result<Arc<Node>> {
        Self::new(Content::Directory(Mutex::new(Names::default())), mode)
    }

    pub(super) fn device(device: Device) -> Result<Arc<Node>> {
        Self::new(Content::Device(device), 0o666)
    }

    /// A device of the machine.
    pub(super) fn driver(driver: &'static dyn Driver) -> Result<Arc<Node>> {
        Self::new(Content::Driver(driver), 0o666)
    }

    /// A symbolic link.
    pub(super) fn link(target: &[u8]) -> Result<Arc<Node>> {
        let mut own = Vec::new();
        room::reserve(&mut own, target.len())?;
        own.extend_from_slice(target);
        Self::new(Content::Link(own), 0o777)
    }

    pub(super) fn report(report: Report) -> Result<Arc<Node>> {
        Self::new(Content::Report(report), 0o444)
    }

    pub(super) fn kind(&self) -> Kind {
        match self.content {
            Content::File(_) | Content::Report(_) => Kind::File,
            Content::Directory(_) => Kind::Directory,
            Content::Device(_) => Kind::Device,
            Content::Link(_) => Kind::Link,
            Content::Driver(driver) => driver.kind(),
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
            _ => Err(Error::NotADirectory),
        }
    }

    /// The bytes of a file.
    pub(super) fn bytes(&self) -> Result<&Mutex<Bytes>> {
        match &self.content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory(_) => Err(Error::IsADirectory),
            _ => Err(Error::InvalidArgument),
        }
    }

    /// The path that a symbolic link stands for.
    pub(super) fn target(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Link(target) => Some(target),
            _ => None,
        }
    }

    /// The node has got another name.
    pub(super) fn linked(&self) {
        self.links.fetch_add(1, Relaxed);
        self.times.lock().changed = time::wall();
    }

    /// The node has lost a name.
    pub(super) fn unlinked(&self) {
        self.links.fetch_sub(1, Relaxed);
        self.times.lock().changed = time::wall();
    }

    /// The content was read. As on Linux (`relatime`), only the first time after a change is noted.
    pub(super) fn content_read(&self) {
        let mut times = self.times.lock();
        if times.accessed <= times.modified {
            times.accessed = time::wall();
        }
    }

    pub(super) fn content_changed(&self) {
        let now = time::wall();
        let mut times = self.times.lock();
        (times.modified, times.changed) = (now, now);
    }

    /// What there is to know about it.
    pub fn metadata(&self) -> Metadata {
        let Times { accessed, modified, changed } = *self.times.lock();
        let (length, stored, children) = match &self.content {
            Content::File(bytes) => {
                let bytes = bytes.lock();
                (bytes.length(), bytes.stored(), 0)
            }
            Content::Link(target) => (target.len() as u64, 0, 0),
            Content::Directory(names) => (0, 0, 1 + names.lock().directories()),
            Content::Device(_) | Content::Report(_) => (0, 0, 0),
            Content::Driver(driver) => (driver.length(), 0, 0),
        };
        let links = self.links.load(Relaxed);
        Metadata {
            kind: self.kind(),
            number: self.number,
            // A directory that was removed has not even its own `.`.
            links: if links == 0 { 0 } else { links + children },
            mode: self.mode.load(Relaxed),
            length,
            stored,
            accessed,
            modified,
            changed,
            created: self.created,
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
        self.bytes()?.lock().set_length(length)?;
        self.content_changed();
        Ok(())
    }
}
