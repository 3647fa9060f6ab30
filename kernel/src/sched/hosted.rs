//! Threads are the host's; waiting is looking again.

use core::sync::atomic::AtomicU32;

use super::ThreadId;
use crate::{Error, Result};

/// Futexes that nobody sleeps on.
pub mod futex {
    use super::{AtomicU32, Error, Result};

    /// Gives other threads a turn.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`], always: the caller looks again.
    pub fn wait(_word: &AtomicU32, _expected: u32, _deadline: Option<u64>) -> Result<()> {
        std::thread::yield_now();
        Err(Error::Changed)
    }

    /// Nobody sleeps here.
    pub const fn wake_here(_word: &AtomicU32) {}

    /// Nobody sleeps here.
    pub const fn wake(_word: &AtomicU32, _count: usize) -> usize {
        0
    }
}

/// The kernel's own threads do not run on a host: their work is done by who waits for it.
///
/// # Errors
///
/// None.
pub const fn spawn(
    _entry: extern "C" fn(usize),
    _argument: usize,
    _priority: u8,
    _stack_size: usize,
    _core: Option<u32>,
) -> Result<ThreadId> {
    Ok(2)
}

/// The host has names of its own.
pub const fn set_name(_name: &[u8]) {}

/// Gives other threads a turn.
///
/// # Errors
///
/// [`Error::Changed`], always: the caller looks again.
pub fn wait_for_device(word: &AtomicU32, expected: u32, deadline: Option<u64>) -> Result<()> {
    futex::wait(word, expected, deadline)
}

/// The host decides who runs.
pub const fn hold() {}

/// The host decides who runs.
pub const fn release() {}

/// Nobody sleeps here.
pub const fn wake_from_interrupt(_word: &AtomicU32) {}

/// The host does not tell.
#[must_use]
pub const fn idle_cycles() -> u64 {
    0
}

/// All threads look like the first.
#[must_use]
pub const fn current_id() -> ThreadId {
    1
}

/// The host has others.
#[must_use]
pub const fn processors() -> u32 {
    1
}
