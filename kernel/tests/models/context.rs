//! A task that stands in a run queue may still be on the stack of the processor that it ran on last.
//!
//! A model of `arch::context`: what is saved of a task is 0 while it runs. Who continues it waits until it
//! is something else.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{
    AtomicUsize, Ordering, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use loom::sync::{Mutex, Notify};
use loom::thread;
use std::sync::Arc;

use crate::search;

/// What is left out.
#[derive(Clone, Copy, PartialEq)]
enum Variant {
    Whole,
    /// Who continues a task does not wait for its last processor.
    NoWait,
    /// The save is no release: what is on the stack may be seen later.
    RelaxedSave,
    /// What is saved is not made 0 again: the next one to continue the task does not wait.
    NotCleared,
    /// Who switches waits for the next task before it has saved its own.
    WaitBeforeSave,
}

/// A task: its stack, and where it goes on.
struct Task {
    stack: UnsafeCell<usize>,
    context: AtomicUsize,
}

// SAFETY: the stack is what the model checks.
unsafe impl Sync for Task {}

impl Task {
    fn new(context: usize) -> Task {
        Task { stack: UnsafeCell::new(0), context: AtomicUsize::new(context) }
    }

    /// The running task uses its stack.
    fn use_stack(&self) {
        // SAFETY: loom complains when two processors do it.
        self.stack.with_mut(|stack| unsafe { *stack += 1 });
    }

    fn save(&self, variant: Variant) {
        let order: Ordering = if variant == Variant::RelaxedSave { Relaxed } else { Release };
        self.use_stack();
        self.context.store(1, order);
    }

    /// Waits until nobody is on the task's stack.
    fn resume(&self, variant: Variant) {
        while variant != Variant::NoWait && self.context.load(Acquire) == 0 {
            thread::yield_now();
        }
        if variant != Variant::NotCleared {
            self.context.store(0, Relaxed);
        }
        self.use_stack();
    }
}

/// A run queue for one task.
struct Queue {
    full: Mutex<bool>,
    filled: Notify,
}

impl Queue {
    fn new() -> Queue {
        Queue { full: Mutex::new(false), filled: Notify::new() }
    }

    fn push(&self) {
        *self.full.lock().unwrap() = true;
        self.filled.notify();
    }

    fn take(&self) {
        // A wait may end early.
        while !std::mem::take(&mut *self.full.lock().unwrap()) {
            self.filled.wait();
        }
    }
}

/// A processor makes its task ready and leaves it; a second one continues it, makes it ready and leaves it;
/// a third one continues it.
fn hand_on(variant: Variant) {
    search(2, move || {
        let task = Arc::new(Task::new(0));
        // The queues that the second and the third processor look into.
        let queues = Arc::new([Queue::new(), Queue::new()]);
        let processors = [0, 1].map(|number| {
            let (task, queues) = (Arc::clone(&task), Arc::clone(&queues));
            thread::spawn(move || {
                queues[number].take();
                task.resume(variant);
                if number == 0 {
                    queues[1].push();
                    task.save(variant);
                }
            })
        });
        task.use_stack();
        queues[0].push();
        task.save(variant);
        for processor in processors {
            processor.join().unwrap();
        }
    });
}

/// Two processors continue each other's task.
fn exchange(variant: Variant) {
    search(3, move || {
        let tasks = Arc::new([Task::new(0), Task::new(0)]);
        let switch = move |tasks: &[Task; 2], own: usize| {
            tasks[own].use_stack();
            if variant == Variant::WaitBeforeSave {
                tasks[1 - own].resume(variant);
                tasks[own].save(variant);
            } else {
                tasks[own].save(variant);
                tasks[1 - own].resume(variant);
            }
        };
        let other = {
            let tasks = Arc::clone(&tasks);
            thread::spawn(move || switch(&tasks, 1))
        };
        switch(&tasks, 0);
        other.join().unwrap();
    });
}

#[test]
fn one_processor_at_a_time_is_on_a_stack() {
    hand_on(Variant::Whole);
    exchange(Variant::Whole);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn who_continues_a_task_waits() {
    hand_on(Variant::NoWait);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_save_is_a_release() {
    hand_on(Variant::RelaxedSave);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_running_task_has_no_context() {
    hand_on(Variant::NotCleared);
}

#[test]
#[should_panic(expected = "exceeded maximum number of branches")]
fn a_switch_saves_before_it_waits() {
    exchange(Variant::WaitBeforeSave);
}
