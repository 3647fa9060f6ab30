//! Descriptors: small numbers for open files and other objects.
//!
//! Descriptors 0, 1 and 2 are the console until they are closed; that needs no table, so that a
//! program that only prints has none.

pub mod eventfd;
pub mod pipe;
pub mod poll;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::sync::{Mutex, MutexGuard};
use crate::{Error, Result, console, fs, net};
use poll::Events;

/// The most descriptors that may be open at once.
pub const LIMIT: usize = 65536;

/// Where a position is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The start.
    Start(u64),
    /// Where the descriptor is.
    Current(i64),
    /// The end.
    End(i64),
}

/// What is written in one call, part after part.
pub type Parts<'a> = &'a mut dyn Iterator<Item = &'a [u8]>;
/// Where to put what is read in one call, part after part.
pub type PartsMut<'a> = &'a mut dyn Iterator<Item = &'a mut [u8]>;

/// What a descriptor stands for.
pub trait Object: Send + Sync {
    /// Reads bytes; 0 is the end.
    ///
    /// # Errors
    ///
    /// [`Error::BadDescriptor`] when it cannot be read.
    fn read(&self, _buffer: &mut [u8]) -> Result<usize> {
        Err(Error::BadDescriptor)
    }

    /// Writes bytes; tells how many.
    ///
    /// # Errors
    ///
    /// [`Error::BadDescriptor`] when it cannot be written.
    fn write(&self, _bytes: &[u8]) -> Result<usize> {
        Err(Error::BadDescriptor)
    }

    /// Reads into parts, until one is not filled. What was read before an error counts.
    ///
    /// # Errors
    ///
    /// As for [`Object::read`].
    fn read_vectored(&self, parts: PartsMut<'_>) -> Result<usize> {
        let mut total = 0;
        for part in parts {
            match self.read(part) {
                Ok(length) => {
                    total += length;
                    if length < part.len() {
                        break;
                    }
                }
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(total)
    }

    /// Writes parts, until one is not written as a whole. What was written before an error counts.
    ///
    /// # Errors
    ///
    /// As for [`Object::write`].
    fn write_vectored(&self, parts: Parts<'_>) -> Result<usize> {
        let mut total = 0;
        for part in parts {
            match self.write(part) {
                Ok(length) => {
                    total += length;
                    if length < part.len() {
                        break;
                    }
                }
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(total)
    }

    /// Reads bytes at an offset; the position stays where it is.
    ///
    /// # Errors
    ///
    /// [`Error::NotSeekable`] when it has no position.
    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> Result<usize> {
        Err(Error::NotSeekable)
    }

    /// Writes bytes at an offset, or (as on Linux) at the end of what is only appended to; the position stays
    /// where it is.
    ///
    /// # Errors
    ///
    /// [`Error::NotSeekable`] when it has no position.
    fn write_at(&self, _bytes: &[u8], _offset: u64) -> Result<usize> {
        Err(Error::NotSeekable)
    }

    /// Moves the position; gives the new one.
    ///
    /// # Errors
    ///
    /// [`Error::NotSeekable`].
    fn seek(&self, _to: Seek) -> Result<u64> {
        Err(Error::NotSeekable)
    }

    /// What there is to know about it.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when that is nothing.
    fn metadata(&self) -> Result<fs::Metadata> {
        Err(Error::Unsupported)
    }

    /// Makes it longer, with zeros, or shorter.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] when it has no length.
    fn set_length(&self, _length: u64) -> Result<()> {
        Err(Error::InvalidArgument)
    }

    /// Changes the permission bits.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] when it has none.
    fn set_mode(&self, _mode: u32) -> Result<()> {
        Err(Error::InvalidArgument)
    }

    /// Changes the times of the last access and of the last change, in nanoseconds since 1970; `None` leaves
    /// one as it is.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] when it has none.
    fn set_times(&self, _accessed: Option<i64>, _modified: Option<i64>) -> Result<()> {
        Err(Error::InvalidArgument)
    }

    /// Brings what was written to where it lasts.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] when nothing of it could last.
    fn sync(&self) -> Result<()> {
        Err(Error::InvalidArgument)
    }

    /// How it was opened, if it is a file.
    fn options(&self) -> Option<fs::Options> {
        None
    }

    /// Locks the file for this open file, and for all descriptors of it, until the last of them is closed; a
    /// lock of the other kind is given back first. Waits for others, or not.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`] when others are in the way; [`Error::InvalidArgument`] when it is no file.
    fn lock(&self, _lock: fs::Lock, _wait: bool) -> Result<()> {
        Err(Error::InvalidArgument)
    }

    /// Gives the lock back, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] when it is no file.
    fn unlock(&self) -> Result<()> {
        Err(Error::InvalidArgument)
    }

    /// Gives the next names of a directory to `take`, until it returns `false`: that name is given again
    /// the next time.
    ///
    /// # Errors
    ///
    /// [`Error::NotADirectory`].
    fn entries(&self, _take: &mut dyn FnMut(&fs::Entry<'_>) -> bool) -> Result<()> {
        Err(Error::NotADirectory)
    }

    /// What can be done at once.
    fn ready(&self) -> Events {
        Events::READABLE | Events::WRITABLE
    }

    /// The same without a lock, when it is known that nothing of `wanted` is among it, and nothing that is told
    /// unasked.
    fn idle(&self, _wanted: Events) -> Option<Events> {
        None
    }

    /// Chooses whether calls may wait.
    fn set_nonblocking(&self, _nonblocking: bool) {}

    /// True when calls do not wait.
    fn is_nonblocking(&self) -> bool {
        false
    }

    /// What more it can do if it is a socket.
    fn socket(&self) -> Option<&dyn net::Socket> {
        None
    }
}

/// An open descriptor's object.
#[derive(Clone)]
pub enum Handle {
    /// Standard input.
    Input,
    /// Standard output.
    Output,
    /// Standard error.
    Error,
    /// Anything else.
    Object(Arc<dyn Object>),
}

/// Bit n is set while descriptor n is the console.
static STANDARD: AtomicU8 = AtomicU8::new(0b111);
static TABLE: Mutex<Vec<Option<Handle>>> = Mutex::new(Vec::new());

/// Looks at many descriptors, one after the other: the table is locked once for all that are idle.
#[derive(Default)]
pub struct Look(Option<MutexGuard<'static, Vec<Option<Handle>>>>);

impl Look {
    /// What can be done with a descriptor at once, of which `wanted` is asked for. What else it tells may be older.
    ///
    /// # Errors
    ///
    /// [`Error::BadDescriptor`] when it is not open.
    pub fn ready(&mut self, descriptor: i32, wanted: Events) -> Result<Events> {
        let number = usize::try_from(descriptor).map_err(|_| Error::BadDescriptor)?;
        let handle = match standard(number) {
            Some(handle) => handle,
            None => {
                let table = self.0.get_or_insert_with(|| TABLE.lock());
                let handle = table.get(number).and_then(Option::as_ref);
                let handle = handle.ok_or(Error::BadDescriptor)?;
                if let Handle::Object(object) = handle
                    && let Some(events) = object.idle(wanted)
                {
                    return Ok(events);
                }
                handle.clone()
            }
        };
        // The object has locks of its own, and may be dropped here.
        self.0 = None;
        Ok(handle.ready())
    }
}

fn standard(descriptor: usize) -> Option<Handle> {
    if descriptor > 2 || STANDARD.load(Relaxed) & 1 << descriptor == 0 {
        return None;
    }
    Some(match descriptor {
        0 => Handle::Input,
        1 => Handle::Output,
        _ => Handle::Error,
    })
}

/// The object of a descriptor.
///
/// # Errors
///
/// [`Error::BadDescriptor`] when it is not open.
pub fn get(descriptor: i32) -> Result<Handle> {
    let descriptor = usize::try_from(descriptor).map_err(|_| Error::BadDescriptor)?;
    if let Some(handle) = standard(descriptor) {
        return Ok(handle);
    }
    TABLE.lock().get(descriptor).cloned().flatten().ok_or(Error::BadDescriptor)
}

/// Opens the lowest free descriptor for an object.
///
/// # Errors
///
/// [`Error::TooManyOpen`]; [`Error::OutOfMemory`].
pub fn open(handle: Handle) -> Result<i32> {
    let mut table = TABLE.lock();
    let free = table
        .iter()
        .enumerate()
        .position(|(number, slot)| slot.is_none() && standard(number).is_none());
    let number = match free {
        Some(number) => number,
        None => {
            let number =
                (table.len()..).find(|number| standard(*number).is_none()).unwrap_or(LIMIT);
            if number >= LIMIT {
                return Err(Error::TooManyOpen);
            }
            let missing = number + 1 - table.len();
            table.try_reserve(missing).map_err(|_| Error::OutOfMemory)?;
            table.resize_with(number + 1, || None);
            number
        }
    };
    table[number] = Some(handle);
    Ok(number as i32)
}

/// Closes a descriptor.
///
/// # Errors
///
/// [`Error::BadDescriptor`] when it is not open.
pub fn close(descriptor: i32) -> Result<()> {
    let number = usize::try_from(descriptor).map_err(|_| Error::BadDescriptor)?;
    if standard(number).is_some() {
        STANDARD.fetch_and(!(1 << number), Relaxed);
        return Ok(());
    }
    // The object is dropped after the table's lock.
    let handle = TABLE.lock().get_mut(number).and_then(Option::take);
    handle.map(drop).ok_or(Error::BadDescriptor)
}

/// Opens another descriptor for the same object.
///
/// # Errors
///
/// As for [`get`] and [`open`].
pub fn duplicate(descriptor: i32) -> Result<i32> {
    open(get(descriptor)?)
}

impl Handle {
    /// Reads; see [`Object::read`].
    ///
    /// # Errors
    ///
    /// The object's.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Handle::Input => console::read(buffer),
            Handle::Output | Handle::Error => Err(Error::BadDescriptor),
            Handle::Object(object) => object.read(buffer),
        }
    }

    /// Writes; see [`Object::write`].
    ///
    /// # Errors
    ///
    /// The object's.
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        match self {
            Handle::Input => return Err(Error::BadDescriptor),
            Handle::Output => console::write_output(bytes),
            Handle::Error => console::write_error(bytes),
            Handle::Object(object) => return object.write(bytes),
        }
        Ok(bytes.len())
    }

    /// Reads into parts; see [`Object::read_vectored`].
    ///
    /// # Errors
    ///
    /// The object's.
    pub fn read_vectored(&self, parts: PartsMut<'_>) -> Result<usize> {
        match self {
            Handle::Object(object) => object.read_vectored(parts),
            // What there is comes in one piece.
            _ => {
                for part in parts {
                    if !part.is_empty() {
                        return self.read(part);
                    }
                }
                self.read(&mut [])
            }
        }
    }

    /// Writes parts; see [`Object::write_vectored`].
    ///
    /// # Errors
    ///
    /// The object's.
    pub fn write_vectored(&self, parts: Parts<'_>) -> Result<usize> {
        match self {
            Handle::Object(object) => object.write_vectored(parts),
            _ => {
                let mut total = 0;
                for part in parts {
                    total += self.write(part)?;
                }
                Ok(total)
            }
        }
    }

    /// The object, unless it is the console.
    ///
    /// # Errors
    ///
    /// `console`, if it is.
    pub fn object(&self, console: Error) -> Result<&Arc<dyn Object>> {
        match self {
            Handle::Object(object) => Ok(object),
            _ => Err(console),
        }
    }

    /// Whether a person is at the other end.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        match self {
            Handle::Input => console::is_terminal(0),
            Handle::Output => console::is_terminal(1),
            Handle::Error => console::is_terminal(2),
            Handle::Object(_) => false,
        }
    }

    /// What can be done at once.
    #[must_use]
    pub fn ready(&self) -> Events {
        match self {
            Handle::Input => console::ready(),
            Handle::Output | Handle::Error => Events::WRITABLE,
            Handle::Object(object) => object.ready(),
        }
    }
}
