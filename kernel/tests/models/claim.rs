//! Who wakes a task that waits with a deadline: a waker that finds it in its bucket, or the timer.
//!
//! A model of `sched::wait`: `block`, `take` and `expire`. The task waits twice, the second time for
//! something else and without a deadline; only the first wait is ended by anybody.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{
    AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
    Ordering::SeqCst,
};
use loom::sync::{Mutex, MutexGuard, Notify};
use loom::thread;
use std::sync::Arc;

use crate::search;

/// What is left out.
#[derive(Clone, Copy, PartialEq)]
enum Variant {
    Whole,
    /// A claim is a look and a store, not one exchange.
    ClaimInTwoSteps,
    /// A waker lets go of a task that it came too late for before it has tried to claim it: the timer
    /// lets the task run, which waits again, and that wait is what the waker claims.
    KeyBeforeClaim,
    /// The timer takes the task out of its bucket without asking whether it still stands there.
    RemoveUnasked,
    /// The waker does not take the deadline away.
    TimerStays,
}

const FIRST: usize = 1;
const SECOND: usize = 2;

/// The task, a bucket for each thing that it waits for, and the timers of one processor.
struct Model {
    variant: Variant,
    waiting: AtomicBool,
    /// What it waits for; 0 when it stands in no bucket.
    key: AtomicUsize,
    timed_out: UnsafeCell<bool>,
    buckets: [Mutex<bool>; 2],
    deadline: Mutex<bool>,
    /// How often it was made ready.
    ready: AtomicUsize,
    run: Notify,
}

// SAFETY: `timed_out` is what the model checks.
unsafe impl Sync for Model {}

impl Model {
    fn new(variant: Variant) -> Model {
        Model {
            variant,
            waiting: AtomicBool::new(false),
            key: AtomicUsize::new(0),
            timed_out: UnsafeCell::new(false),
            buckets: [Mutex::new(false), Mutex::new(false)],
            deadline: Mutex::new(false),
            ready: AtomicUsize::new(0),
            run: Notify::new(),
        }
    }

    /// Whether the task stands in the bucket of this key.
    fn bucket(&self, key: usize) -> MutexGuard<'_, bool> {
        self.buckets[key - 1].lock().unwrap()
    }

    fn begin_wait(&self, key: usize, deadline: bool) {
        let mut bucket = self.bucket(key);
        self.key.store(key, Relaxed);
        self.timed_out.with_mut(|timed_out| {
            // SAFETY: the running task's own; loom complains when it is not.
            unsafe { *timed_out = false }
        });
        self.waiting.store(true, SeqCst);
        *self.deadline.lock().unwrap() = deadline;
        *bucket = true;
    }

    fn claim(&self) -> bool {
        if self.variant == Variant::ClaimInTwoSteps {
            let claimed = self.waiting.load(SeqCst);
            self.waiting.store(false, SeqCst);
            return claimed;
        }
        self.waiting.swap(false, SeqCst)
    }

    fn make_ready(&self) {
        let before = self.ready.fetch_add(1, SeqCst);
        assert_eq!(before, 0, "a task was made ready twice");
        self.run.notify();
    }

    /// `wake_all`, for whoever waits for the first key.
    fn wake(&self) {
        let mut bucket = self.bucket(FIRST);
        if !std::mem::take(&mut *bucket) {
            return;
        }
        if self.variant == Variant::KeyBeforeClaim {
            self.key.store(0, Release);
        }
        let claimed = self.claim();
        // The last access to a task that somebody else has claimed.
        if self.variant != Variant::KeyBeforeClaim {
            self.key.store(0, Release);
        }
        if claimed {
            if self.variant != Variant::TimerStays {
                *self.deadline.lock().unwrap() = false;
            }
            self.make_ready();
        }
    }

    /// The deadline comes.
    fn expire(&self) {
        {
            let mut deadline = self.deadline.lock().unwrap();
            if !std::mem::take(&mut *deadline) || !self.claim() {
                return;
            }
        }
        let key = self.key.load(Acquire);
        if key != 0 {
            let mut bucket = self.bucket(key);
            if self.variant == Variant::RemoveUnasked || self.key.swap(0, Relaxed) != 0 {
                let stood = std::mem::take(&mut *bucket);
                assert!(stood, "a task is taken out of a bucket that it is not in");
            }
        }
        self.timed_out.with_mut(|timed_out| {
            // SAFETY: the claimed task's; loom complains when it is not.
            unsafe { *timed_out = true }
        });
        self.make_ready();
    }

    /// The task's own way, after its first wait was begun.
    fn task(&self) -> bool {
        while self.ready.load(SeqCst) == 0 {
            self.run.wait();
        }
        self.ready.store(0, SeqCst);
        // SAFETY: the running task's own; loom complains when it is not.
        let timed_out = self.timed_out.with(|timed_out| unsafe { *timed_out });
        let mut deadline = false;
        if self.variant == Variant::TimerStays {
            deadline = *self.deadline.lock().unwrap();
        }
        self.begin_wait(SECOND, deadline);
        timed_out
    }
}

fn run(variant: Variant) {
    search(3, move || {
        let model = Arc::new(Model::new(variant));
        model.begin_wait(FIRST, true);
        let others = [Model::wake, Model::expire].map(|other| {
            let model = Arc::clone(&model);
            thread::spawn(move || other(&model))
        });
        model.task();
        for other in others {
            other.join().unwrap();
        }
        // Nobody was to end the second wait.
        assert_eq!(model.ready.load(SeqCst), 0, "a later wait was ended");
        assert!(model.waiting.load(SeqCst), "a later wait was claimed");
        assert_eq!(model.key.load(SeqCst), SECOND, "a later wait has lost its key");
        assert!(*model.bucket(SECOND), "a later wait has lost its bucket");
    });
}

#[test]
fn one_wakes_the_task_and_only_from_this_wait() {
    run(Variant::Whole);
}

#[test]
#[should_panic(expected = "a task")]
fn a_claim_is_one_step() {
    run(Variant::ClaimInTwoSteps);
}

#[test]
#[should_panic(expected = "a later wait")]
fn a_waker_claims_before_it_lets_go() {
    run(Variant::KeyBeforeClaim);
}

#[test]
#[should_panic(expected = "a bucket that it is not in")]
fn the_timer_asks_whether_the_task_is_in_its_bucket() {
    run(Variant::RemoveUnasked);
}

#[test]
#[should_panic(expected = "a later wait")]
fn a_waker_takes_the_deadline_away() {
    run(Variant::TimerStays);
}
