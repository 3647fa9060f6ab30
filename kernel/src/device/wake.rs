//! What an interrupt of a device does: it counts a word up, and wakes who waits for it.

use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use crate::sched;

/// A place for a word; before one is set, interrupts are for nobody.
#[derive(Debug, Default)]
pub struct Wake(AtomicPtr<AtomicU32>);

impl Wake {
    /// Sets the word.
    pub fn set(&self, word: &'static AtomicU32) {
        self.0.store(ptr::from_ref(word).cast_mut(), Release);
    }

    /// Counts the word up, and wakes who waits for it. Called in an interrupt handler.
    pub fn wake(&self) {
        // SAFETY: null, or what `set` has stored.
        if let Some(word) = unsafe { self.0.load(Acquire).as_ref() } {
            word.fetch_add(1, Relaxed);
            sched::wake_from_interrupt(word);
        }
    }
}
