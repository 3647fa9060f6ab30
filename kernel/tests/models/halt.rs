//! A processor halts only when nothing stands in its queue, and who puts something there interrupts it.
//!
//! A model of `sched::others`: `make_ready` and `look_for_work`. The halt ends with an interrupt, also with one
//! that came before it.

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst, fence};
use loom::sync::{Mutex, Notify};
use loom::thread;
use std::sync::Arc;

use crate::search;

/// What is left out.
#[derive(Clone, Copy, PartialEq)]
enum Variant {
    Whole,
    /// The waker does not order its store to the queue before its look at who halts.
    NoFenceOfWaker,
    /// The processor does not order its word that it halts before its last look at the queue.
    NoFenceOfIdler,
    /// It does not look again.
    NoSecondLook,
    /// It says that it halts only after its last look.
    LookBeforeWord,
}

struct Processor {
    queue: Mutex<usize>,
    /// How many stand in the queue, for a look without the lock.
    ready: AtomicUsize,
    halted: AtomicBool,
    interrupt: Notify,
}

impl Processor {
    /// Puts a task into the queue, from another processor.
    fn make_ready(&self, variant: Variant) {
        {
            let mut queue = self.queue.lock().unwrap();
            *queue += 1;
            self.ready.store(*queue, Relaxed);
        }
        if variant != Variant::NoFenceOfWaker {
            fence(SeqCst);
        }
        if self.halted.load(Relaxed) {
            self.interrupt.notify();
        }
    }

    fn has_work(&self) -> bool {
        self.ready.load(Relaxed) != 0
    }

    fn take(&self) -> bool {
        let mut queue = self.queue.lock().unwrap();
        let some = *queue > 0;
        *queue = queue.saturating_sub(1);
        self.ready.store(*queue, Relaxed);
        some
    }

    /// Idles until there is a task, and takes it.
    fn idle(&self, variant: Variant) {
        loop {
            if self.has_work() && self.take() {
                return;
            }
            let looked = variant == Variant::LookBeforeWord && self.has_work();
            self.halted.store(true, Relaxed);
            if variant != Variant::NoFenceOfIdler {
                fence(SeqCst);
            }
            let work = match variant {
                Variant::NoSecondLook => false,
                Variant::LookBeforeWord => looked,
                _ => self.has_work(),
            };
            if !work {
                self.interrupt.wait();
            }
            self.halted.store(false, Relaxed);
        }
    }
}

fn run(wakers: usize, variant: Variant) {
    search(3, move || {
        let processor = Arc::new(Processor {
            queue: Mutex::new(0),
            ready: AtomicUsize::new(0),
            halted: AtomicBool::new(false),
            interrupt: Notify::new(),
        });
        let wakers = (0..wakers).map(|_| {
            let processor = Arc::clone(&processor);
            thread::spawn(move || processor.make_ready(variant))
        });
        let wakers = wakers.collect::<Vec<_>>();
        for _ in &wakers {
            processor.idle(variant);
        }
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

#[test]
fn no_task_is_overslept() {
    run(1, Variant::Whole);
    run(2, Variant::Whole);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_waker_needs_its_fence() {
    run(1, Variant::NoFenceOfWaker);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_idler_needs_its_fence() {
    run(1, Variant::NoFenceOfIdler);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_idler_looks_twice() {
    run(1, Variant::NoSecondLook);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_last_look_comes_after_the_word() {
    run(1, Variant::LookBeforeWord);
}
