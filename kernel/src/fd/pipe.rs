//! Pipes: bytes that one side writes and the other side reads (POSIX, pipe()).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::Object;
use super::poll::{self, Events};
use crate::sync::Mutex;
use crate::{Error, Result};

/// Bytes that a pipe holds before a writer waits, as on Linux.
pub const CAPACITY: usize = 64 << 10;
/// Bytes that are written as a whole or not at all (`PIPE_BUF`).
const ATOMIC: usize = 4096;

/// What the two sides share.
#[derive(Debug)]
struct Channel {
    bytes: VecDeque<u8>,
    /// The reading side is open.
    reader: bool,
    /// The writing side is open.
    writer: bool,
}

/// One side of a pipe. It is closed when its last descriptor is.
#[derive(Debug)]
pub struct Side {
    channel: Arc<Mutex<Channel>>,
    writes: bool,
    nonblocking: AtomicBool,
}

/// A pipe: the side to read from, and the side to write to.
#[must_use]
pub fn pipe(nonblocking: bool) -> (Side, Side) {
    let channel =
        Arc::new(Mutex::new(Channel { bytes: VecDeque::new(), reader: true, writer: true }));
    let side = |writes| Side {
        channel: channel.clone(),
        writes,
        nonblocking: AtomicBool::new(nonblocking),
    };
    (side(false), side(true))
}

impl Side {
    /// Tries until something comes of it, or once when the side does not wait.
    fn wait<T>(&self, mut attempt: impl FnMut(&mut Channel) -> Option<Result<T>>) -> Result<T> {
        let mut look = || attempt(&mut self.channel.lock());
        let result = if self.nonblocking.load(Relaxed) {
            look().unwrap_or(Err(Error::WouldBlock))
        } else {
            poll::wait(None, look)?
        };
        poll::changed();
        result
    }
}

impl Object for Side {
    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        if self.writes {
            return Err(Error::BadDescriptor);
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        self.wait(|channel| {
            let length = buffer.len().min(channel.bytes.len());
            if length == 0 && channel.writer {
                return None;
            }
            for (place, byte) in buffer.iter_mut().zip(channel.bytes.drain(..length)) {
                *place = byte;
            }
            Some(Ok(length))
        })
    }

    fn write(&self, bytes: &[u8]) -> Result<usize> {
        if !self.writes {
            return Err(Error::BadDescriptor);
        }
        let mut written = 0;
        // A writer that waits writes everything, as POSIX has it.
        while written < bytes.len() {
            let rest = &bytes[written..];
            let step = self.wait(|channel| {
                if !channel.reader {
                    return Some(Err(Error::BrokenPipe));
                }
                let room = CAPACITY - channel.bytes.len();
                let length = rest.len().min(room);
                if length == 0 || rest.len() <= ATOMIC && length < rest.len() {
                    return None;
                }
                if channel.bytes.try_reserve(length).is_err() {
                    return Some(Err(Error::OutOfMemory));
                }
                channel.bytes.extend(&rest[..length]);
                Some(Ok(length))
            });
            match step {
                Ok(length) => written += length,
                Err(error) if written == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(written)
    }

    fn ready(&self) -> Events {
        let channel = self.channel.lock();
        let when = |condition, events| if condition { events } else { Events::NONE };
        match self.writes {
            false => {
                when(!channel.bytes.is_empty(), Events::READABLE)
                    | when(!channel.writer, Events::HUNG_UP)
            }
            true => {
                let room = channel.bytes.len() + ATOMIC <= CAPACITY;
                when(room, Events::WRITABLE) | when(!channel.reader, Events::ERROR)
            }
        }
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Relaxed);
    }

    fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Relaxed)
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        {
            let mut channel = self.channel.lock();
            match self.writes {
                true => channel.writer = false,
                false => channel.reader = false,
            }
        }
        // Whoever waits for the other side learns that it is gone.
        poll::changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (reader, writer) = pipe(true);
        let mut buffer = [0; 4];
        assert_eq!(reader.read(&mut buffer), Err(Error::WouldBlock));
        assert_eq!(writer.write(b"hello"), Ok(5));
        assert_eq!(reader.read(&mut buffer), Ok(4));
        assert_eq!(&buffer, b"hell");
        assert_eq!(reader.read(&mut buffer), Ok(1));
        assert_eq!(reader.write(b"x"), Err(Error::BadDescriptor));
        assert_eq!(writer.read(&mut buffer), Err(Error::BadDescriptor));
    }

    #[test]
    fn the_end_comes_behind_what_was_written() {
        let (reader, writer) = pipe(true);
        assert_eq!(writer.write(b"x"), Ok(1));
        drop(writer);
        let mut buffer = [0; 4];
        assert_eq!(reader.read(&mut buffer), Ok(1));
        assert_eq!(reader.read(&mut buffer), Ok(0));
        assert_eq!(reader.ready(), Events::HUNG_UP);
    }

    #[test]
    fn nobody_reads() {
        let (reader, writer) = pipe(true);
        drop(reader);
        assert_eq!(writer.write(b"x"), Err(Error::BrokenPipe));
        assert_eq!(writer.ready(), Events::WRITABLE | Events::ERROR);
    }

    #[test]
    fn a_full_pipe_takes_no_part_of_a_small_write() {
        let (reader, writer) = pipe(true);
        let most = [0; CAPACITY - 10];
        assert_eq!(writer.write(&most), Ok(most.len()));
        assert_eq!(writer.write(&[1; 11]), Err(Error::WouldBlock));
        // A large one may be written in part.
        assert_eq!(writer.write(&[1; ATOMIC + 1]), Ok(10));
        assert_eq!(writer.ready(), Events::NONE);
        let mut buffer = [0; ATOMIC];
        assert_eq!(reader.read(&mut buffer), Ok(ATOMIC));
        assert_eq!(writer.ready(), Events::WRITABLE);
    }
}
