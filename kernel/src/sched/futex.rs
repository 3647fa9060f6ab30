//! Waiting for a word of memory to change (Drepper, "Futexes Are Tricky").

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::wait;
use crate::{Error, Result};

/// Sleeps until [`wake`] is called for `word`, if it still holds `expected`. `deadline` is in
/// nanoseconds of the monotonic clock.
///
/// # Errors
///
/// [`Error::Changed`] when the word held something else; [`Error::TimedOut`].
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<u64>) -> Result<()> {
    let key = &raw const *word as usize;
    let bucket = wait::bucket(key);
    if word.load(SeqCst) != expected {
        return Err(Error::Changed);
    }
    wait::block(key, Some(bucket), deadline)
}

/// Wakes up to `count` threads that wait for `word`, longest first; tells how many.
pub fn wake(word: &AtomicU32, count: usize) -> usize {
    wait::wake_key(&raw const *word as usize, count)
}

/// Wakes those who wait for `word`, to run on this processor once the caller waits itself.
pub fn wake_here(word: &AtomicU32) {
    wait::wake_here(word);
}
