//! The third mutex of Drepper, "Futexes Are Tricky", on a word of memory.
//!
//! `kernel/tests/models` compiles this file too, with loom's words and a model of futexes: so it names neither but
//! through `super`.

use super::sched::futex;
use super::{Acquire, AtomicU32, FREE, Relaxed, Release};

/// Somebody has it, and nobody waits.
const HELD: u32 = 1;
/// Somebody has it, and others may wait.
const CONTENDED: u32 = 2;

/// Sleeps until the lock is free, and takes it.
#[inline]
pub fn lock(state: &AtomicU32) {
    if !try_lock(state) {
        lock_contended(state);
    }
}

/// Takes the lock if it is free.
#[inline]
pub fn try_lock(state: &AtomicU32) -> bool {
    state.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok()
}

#[cold]
fn lock_contended(state: &AtomicU32) {
    while state.swap(CONTENDED, Acquire) != FREE {
        // Whatever ends the wait, the state is looked at again.
        let _ = futex::wait(state, CONTENDED, None);
    }
}

/// Gives the lock back, and wakes one who waits for it.
#[inline]
pub fn unlock(state: &AtomicU32) {
    if state.swap(FREE, Release) == CONTENDED {
        futex::wake(state, 1);
    }
}
