//! A counter that threads wait on, as a descriptor (Linux, eventfd(2)).

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::Object;
use super::poll::{self, Events};
use crate::sync::Mutex;
use crate::{Error, Result};

/// The counter.
#[derive(Debug)]
pub struct EventFd {
    count: Mutex<u64>,
    /// A read takes one off instead of everything.
    semaphore: bool,
    nonblocking: AtomicBool,
}

impl EventFd {
    /// A counter that starts at `count`.
    #[must_use]
    pub const fn new(count: u64, semaphore: bool, nonblocking: bool) -> EventFd {
        EventFd { count: Mutex::new(count), semaphore, nonblocking: AtomicBool::new(nonblocking) }
    }

    fn wait<T>(&self, mut attempt: impl FnMut(&mut u64) -> Option<T>) -> Result<T> {
        let mut look = || attempt(&mut self.count.lock());
        let result = if self.nonblocking.load(Relaxed) {
            look().ok_or(Error::WouldBlock)?
        } else {
            poll::wait(None, look)?
        };
        poll::changed();
        Ok(result)
    }
}

impl Object for EventFd {
    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let buffer = buffer.first_chunk_mut().ok_or(Error::InvalidArgument)?;
        *buffer = self
            .wait(|count| {
                let taken = if self.semaphore { (*count).min(1) } else { *count };
                *count -= taken;
                (taken > 0).then_some(taken)
            })?
            .to_ne_bytes();
        Ok(8)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize> {
        let added = u64::from_ne_bytes(*bytes.first_chunk().ok_or(Error::InvalidArgument)?);
        if added == u64::MAX {
            return Err(Error::InvalidArgument);
        }
        self.wait(|count| {
            let sum = count.checked_add(added).filter(|sum| *sum < u64::MAX)?;
            *count = sum;
            Some(8)
        })
    }

    fn ready(&self) -> Events {
        let count = *self.count.lock();
        let readable = if count > 0 { Events::READABLE } else { Events::NONE };
        let writable = if count < u64::MAX - 1 { Events::WRITABLE } else { Events::NONE };
        readable | writable
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Relaxed);
    }

    fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_empties() {
        let event = EventFd::new(2, false, true);
        assert_eq!(event.write(&3u64.to_ne_bytes()), Ok(8));
        let mut buffer = [0; 8];
        assert_eq!(event.read(&mut buffer), Ok(8));
        assert_eq!(u64::from_ne_bytes(buffer), 5);
        assert_eq!(event.read(&mut buffer), Err(Error::WouldBlock));
        assert_eq!(event.ready(), Events::WRITABLE);
        assert_eq!(event.write(&u64::MAX.to_ne_bytes()), Err(Error::InvalidArgument));
        assert_eq!(event.write(&[0; 4]), Err(Error::InvalidArgument));
        assert_eq!(event.write(&(u64::MAX - 1).to_ne_bytes()), Ok(8));
        assert_eq!(event.write(&1u64.to_ne_bytes()), Err(Error::WouldBlock));
    }

    #[test]
    fn a_semaphore_gives_one_at_a_time() {
        let event = EventFd::new(2, true, true);
        let mut buffer = [0; 8];
        for _ in 0..2 {
            assert_eq!(event.read(&mut buffer), Ok(8));
            assert_eq!(u64::from_ne_bytes(buffer), 1);
        }
        assert_eq!(event.read(&mut buffer), Err(Error::WouldBlock));
    }
}
