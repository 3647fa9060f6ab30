//! Waiting for any of several descriptors.

use core::ops::{BitAnd, BitOr};
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use crate::{Error, Result, sched};

/// What can be done with a descriptor without waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u8);

impl Events {
    /// Nothing.
    pub const NONE: Events = Events(0);
    /// There is something to read, or the end is reached.
    pub const READABLE: Events = Events(1);
    /// Something can be written.
    pub const WRITABLE: Events = Events(2);
    /// The other side is closed; told whether it was asked for or not.
    pub const HUNG_UP: Events = Events(4);
    /// Writing has become pointless; told whether it was asked for or not.
    pub const ERROR: Events = Events(8);
    /// The other side sends nothing more, or nothing more is read.
    pub const READ_CLOSED: Events = Events(16);
    /// What is told whether it was asked for or not.
    pub const UNASKED: Events = Events(Events::HUNG_UP.0 | Events::ERROR.0);

    /// True when this is nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As a number that [`Events::from_bits`] takes.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From what [`Events::bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Events {
        Events(bits)
    }
}

impl BitOr for Events {
    type Output = Events;
    fn bitor(self, other: Events) -> Events {
        Events(self.0 | other.0)
    }
}

impl BitAnd for Events {
    type Output = Events;
    fn bitand(self, other: Events) -> Events {
        Events(self.0 & other.0)
    }
}

/// Counts changes of what any object is ready for.
static CHANGES: AtomicU32 = AtomicU32::new(0);
/// Threads inside [`wait`]: without any, a change costs one addition.
static WAITERS: AtomicU32 = AtomicU32::new(0);

/// Tells everybody who polls that an object has become ready for something.
pub fn changed() {
    CHANGES.fetch_add(1, SeqCst);
    if WAITERS.load(SeqCst) > 0 {
        sched::futex::wake(&CHANGES, usize::MAX);
    }
}

/// The word that counts changes: what a device's interrupt is to count up when that is all it means.
#[must_use]
pub const fn changes() -> &'static AtomicU32 {
    &CHANGES
}

/// As [`changed`], for an interrupt handler.
pub fn changed_from_interrupt() {
    CHANGES.fetch_add(1, SeqCst);
    sched::wake_from_interrupt(&CHANGES);
}

/// Calls `look` until it finds something, whenever an object may have become ready, until `deadline`
/// on the monotonic clock.
///
/// # Errors
///
/// [`Error::TimedOut`].
pub fn wait<T>(deadline: Option<u64>, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    WAITERS.fetch_add(1, SeqCst);
    let result = loop {
        let before = CHANGES.load(SeqCst);
        if let Some(found) = look() {
            break Ok(found);
        }
        match sched::wait_for_device(&CHANGES, before, deadline) {
            Err(Error::TimedOut) => break look().ok_or(Error::TimedOut),
            _ => continue,
        }
    };
    WAITERS.fetch_sub(1, SeqCst);
    result
}
