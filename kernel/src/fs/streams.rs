//! Sources of random numbers and channels to the host as files: bytes without positions.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::drivers::Driver;
use super::node::{Kind, Metadata};
use super::open::OpenFile;
use super::{Options, room};
use crate::drivers::console::Console;
use crate::drivers::entropy::Source;
use crate::fd::Object;
use crate::fd::poll::Events;
use crate::{Error, Result};

/// What a stream is read from and written to.
trait Stream: Send + Sync {
    /// Reads at least a byte.
    fn read(&self, buffer: &mut [u8], wait: bool) -> Result<usize>;

    /// Writes.
    fn write(&self, bytes: &[u8], wait: bool) -> Result<usize>;

    /// What can be done at once.
    fn ready(&self) -> Events;
}

impl Stream for Source {
    fn read(&self, buffer: &mut [u8], _wait: bool) -> Result<usize> {
        Self::read(self, buffer)
    }

    fn write(&self, _bytes: &[u8], _wait: bool) -> Result<usize> {
        Err(Error::BadDescriptor)
    }

    fn ready(&self) -> Events {
        Events::READABLE
    }
}

impl Stream for Console {
    fn read(&self, buffer: &mut [u8], wait: bool) -> Result<usize> {
        Self::read(self, buffer, wait)
    }

    fn write(&self, bytes: &[u8], wait: bool) -> Result<usize> {
        Self::write(self, bytes, wait)
    }

    fn ready(&self) -> Events {
        Self::ready(self)
    }
}

impl<S: Stream> Driver for S {
    fn kind(&self) -> Kind {
        Kind::Device
    }

    fn open(&'static self, file: Arc<OpenFile>, options: Options) -> Result<Arc<dyn Object>> {
        Ok(room::share(StreamFile {
            stream: self,
            file,
            options,
            nonblocking: AtomicBool::new(false),
        })?)
    }
}

/// An open stream.
struct StreamFile {
    stream: &'static dyn Stream,
    /// The node's, for all that is not about bytes.
    file: Arc<OpenFile>,
    options: Options,
    nonblocking: AtomicBool,
}

impl Object for StreamFile {
    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        match self.options.read {
            true => self.stream.read(buffer, !self.is_nonblocking()),
            false => Err(Error::BadDescriptor),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<usize> {
        match self.options.write {
            true => self.stream.write(bytes, !self.is_nonblocking()),
            false => Err(Error::BadDescriptor),
        }
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

    fn options(&self) -> Option<Options> {
        Some(self.options)
    }

    fn ready(&self) -> Events {
        self.stream.ready()
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Relaxed);
    }

    fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Relaxed)
    }
}
