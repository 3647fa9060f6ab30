//! The kernel's mutex: the code itself, on a model of `sched::futex`.

use std::sync::Arc;

use loom::cell::UnsafeCell;
// What the code takes from its surroundings.
use loom::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use loom::thread;

use crate::search;

/// The word while nobody has the lock.
const FREE: u32 = 0;

#[path = "../../src/sync/futex_lock.rs"]
mod futex_lock;

/// The part of `sched` that the code uses.
mod sched {
    /// One bucket, whose lock is held from the look at the word to the place among those who wait.
    pub mod futex {
        use std::convert::Infallible;
        use std::sync::Arc;

        use loom::sync::Mutex;
        use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

        /// Who waits for a word.
        struct Waiter {
            word: usize,
            woken: AtomicBool,
            notify: loom::sync::Notify,
        }

        loom::lazy_static! {
            static ref BUCKET: Mutex<Vec<Arc<Waiter>>> = Mutex::new(Vec::new());
        }

        fn key(word: &AtomicU32) -> usize {
            std::ptr::from_ref(word).addr()
        }

        pub fn wait(
            word: &AtomicU32,
            expected: u32,
            deadline: Option<Infallible>,
        ) -> Result<(), ()> {
            assert!(deadline.is_none());
            let waiter = Arc::new(Waiter {
                word: key(word),
                woken: AtomicBool::new(false),
                notify: loom::sync::Notify::new(),
            });
            {
                let mut bucket = BUCKET.lock().unwrap();
                if word.load(SeqCst) != expected {
                    return Err(());
                }
                bucket.push(Arc::clone(&waiter));
            }
            while !waiter.woken.load(SeqCst) {
                waiter.notify.wait();
            }
            Ok(())
        }

        pub fn wake(word: &AtomicU32, count: usize) -> usize {
            let mut bucket = BUCKET.lock().unwrap();
            let mut woken = 0;
            while woken < count
                && let Some(place) = bucket.iter().position(|waiter| waiter.word == key(word))
            {
                let waiter = bucket.remove(place);
                waiter.woken.store(true, SeqCst);
                waiter.notify.notify();
                woken += 1;
            }
            woken
        }
    }
}

/// A number under the lock.
struct Model {
    state: AtomicU32,
    value: UnsafeCell<u32>,
}

// SAFETY: the value is what the model checks.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn add(&self) {
        futex_lock::lock(&self.state);
        // SAFETY: loom complains when two threads are here.
        self.value.with_mut(|value| unsafe { *value += 1 });
        futex_lock::unlock(&self.state);
    }
}

fn run(threads: u32, rounds: u32, preemptions: usize) {
    search(preemptions, move || {
        let model = Arc::new(Model { state: AtomicU32::new(FREE), value: UnsafeCell::new(0) });
        let others = (1..threads).map(|_| {
            let model = Arc::clone(&model);
            thread::spawn(move || (0..rounds).for_each(|_| model.add()))
        });
        let others = others.collect::<Vec<_>>();
        (0..rounds).for_each(|_| model.add());
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(model.state.load(Acquire), FREE);
        // SAFETY: the other threads have ended.
        let value = model.value.with(|value| unsafe { *value });
        assert_eq!(value, threads * rounds);
    });
}

#[test]
fn two_threads_exclude_each_other() {
    run(2, 2, 3);
}

#[test]
fn of_three_threads_none_sleeps_on() {
    run(3, 1, 2);
}
