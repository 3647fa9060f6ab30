//! What an interrupt of a device does: it counts a word up, and wakes who waits for it.

use alloc::vec::Vec;
use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
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

/// What the interrupts of a device do.
#[derive(Debug, Default)]
pub struct Wakes {
    /// For each that uses a part of the device, by its number.
    pub parts: Vec<Wake>,
    /// The device's configuration has changed since somebody last took a look.
    changed: AtomicBool,
}

impl Wakes {
    /// Wakes for so many parts.
    #[must_use]
    pub fn new(parts: u16) -> Wakes {
        Wakes {
            parts: (0..parts).map(|_| Wake::default()).collect(),
            changed: AtomicBool::new(false),
        }
    }

    /// Notes that the configuration has changed, and wakes the user of the first part. Called in an interrupt
    /// handler.
    pub fn change(&self) {
        self.changed.store(true, Release);
        self.parts.iter().take(1).for_each(Wake::wake);
    }

    /// Whether the configuration has changed since the last question.
    #[inline]
    pub fn take_change(&self) -> bool {
        self.changed.load(Relaxed) && self.changed.swap(false, Acquire)
    }
}
