//! A frame goes to somebody else only when no processor translates an address to it any more.
//!
//! A model of `arch::tlb`: who takes a page away asks the others and waits, but not for those that idle; they
//! forget what they know before they go on.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{
    AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
    Ordering::SeqCst, fence,
};
use loom::thread;
use std::sync::Arc;

use crate::search;

/// What is left out.
#[derive(Clone, Copy, PartialEq)]
enum Variant {
    Whole,
    /// A processor that stops idling does not look for requests.
    NoLookAfterIdle,
    /// It looks before it says that it does not idle any more.
    LookBeforeWord,
    /// Neither side orders its word before its look.
    NoFences,
    /// Nobody is waited for.
    NoWait,
}

/// The other processor's knowledge of the only page.
const MAPPED: usize = 1;

struct Machine {
    variant: Variant,
    /// The page's entry in the page table.
    entry: AtomicUsize,
    frame: UnsafeCell<usize>,
    requests: AtomicUsize,
    flushed: AtomicUsize,
    idle: AtomicBool,
}

// SAFETY: the frame is what the model checks.
unsafe impl Sync for Machine {}

impl Machine {
    fn fence(&self) {
        if self.variant != Variant::NoFences {
            fence(SeqCst);
        }
    }

    /// Takes the page away, and writes to its frame for another use.
    fn unmap(&self) {
        self.entry.store(0, Relaxed);
        self.requests.store(1, Release);
        self.fence();
        while self.variant != Variant::NoWait
            && !self.idle.load(Acquire)
            && self.flushed.load(Acquire) == 0
        {
            thread::yield_now();
        }
        // SAFETY: loom complains when another processor still reads it.
        self.frame.with_mut(|frame| unsafe { *frame = 2 });
    }

    /// Reads through the page, if it is there as far as this processor knows.
    fn read(&self, cached: &mut usize) {
        if *cached == 0 {
            *cached = self.entry.load(Acquire);
        }
        if *cached == MAPPED {
            // SAFETY: loom complains when another processor writes to it.
            self.frame.with(|frame| unsafe { frame.read() });
        }
    }

    /// Forgets, if it was asked to.
    fn answer(&self, cached: &mut usize) {
        let request = self.requests.load(Acquire);
        if self.flushed.load(Relaxed) < request {
            *cached = 0;
            self.flushed.store(request, Release);
        }
    }

    /// Reads, idles, and reads again.
    fn other(&self) {
        let mut cached = 0;
        self.read(&mut cached);
        self.answer(&mut cached);
        self.read(&mut cached);
        self.idle.store(true, Release);
        if self.variant == Variant::LookBeforeWord {
            self.answer(&mut cached);
        }
        self.idle.store(false, Relaxed);
        self.fence();
        if !matches!(self.variant, Variant::NoLookAfterIdle | Variant::LookBeforeWord) {
            self.answer(&mut cached);
        }
        self.read(&mut cached);
        // Idle for good.
        self.idle.store(true, Release);
    }
}

fn run(variant: Variant) {
    search(3, move || {
        let machine = Arc::new(Machine {
            variant,
            entry: AtomicUsize::new(MAPPED),
            frame: UnsafeCell::new(0),
            requests: AtomicUsize::new(0),
            flushed: AtomicUsize::new(0),
            idle: AtomicBool::new(false),
        });
        let other = {
            let machine = Arc::clone(&machine);
            thread::spawn(move || machine.other())
        };
        machine.unmap();
        other.join().unwrap();
    });
}

#[test]
fn nobody_reads_a_frame_that_was_given_away() {
    run(Variant::Whole);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn who_idled_looks_for_requests() {
    run(Variant::NoLookAfterIdle);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn the_look_comes_after_the_word() {
    run(Variant::LookBeforeWord);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn both_sides_need_fences() {
    run(Variant::NoFences);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn the_others_are_waited_for() {
    run(Variant::NoWait);
}
