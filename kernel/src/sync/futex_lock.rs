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
    if state
        .compare_exchange(FREE, HELD, Acquire, Relaxed)
        .is_err()
    {
        lock_contended(state);
    }
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
