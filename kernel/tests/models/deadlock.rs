//! When every processor idles and nothing stands in a queue, nothing can ever happen again, and one of them
//! says so; nobody says so before.
//!
//! A model of `sched::others`: `look_for_work` and `nothing_can_happen`. Two processors; a task wakes another one
//! and waits, and the other one wakes it again, or does not.

use loom::sync::atomic::{
    AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::SeqCst, fence,
};
use loom::sync::{Mutex, Notify};
use loom::thread;
use std::sync::Arc;

use crate::search;

/// What is left out.
#[derive(Clone, Copy, PartialEq)]
enum Variant {
    Whole,
    /// Whether a processor was busy in between is not asked.
    NoSecondLook,
    /// A processor takes a task before it counts as busy.
    TakeWhileIdle,
    /// Queues are not looked into.
    NoQueues,
    /// A processor looks once, before it counts as idle: the last two to idle may both be too early.
    LookWhileBusy,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Task {
    Ping,
    Pong,
    Stop,
}

struct Processor {
    queue: Mutex<Option<Task>>,
    ready: AtomicUsize,
    /// Odd while it idles; counts up with every change.
    idle: AtomicUsize,
    halted: AtomicBool,
    interrupt: Notify,
}

struct Machine {
    variant: Variant,
    processors: [Processor; 2],
    /// Somebody has said that nothing can happen.
    over: AtomicBool,
}

impl Machine {
    fn new(variant: Variant) -> Machine {
        let processor = |idle| Processor {
            queue: Mutex::new(None),
            ready: AtomicUsize::new(0),
            idle: AtomicUsize::new(idle),
            halted: AtomicBool::new(false),
            interrupt: Notify::new(),
        };
        Machine { variant, processors: [processor(0), processor(0)], over: AtomicBool::new(false) }
    }

    fn make_ready(&self, number: usize, task: Task) {
        let processor = &self.processors[number];
        *processor.queue.lock().unwrap() = Some(task);
        processor.ready.store(1, Relaxed);
        fence(SeqCst);
        if processor.halted.load(Relaxed) {
            processor.interrupt.notify();
        }
    }

    fn take(&self, number: usize) -> Option<Task> {
        let processor = &self.processors[number];
        let task = processor.queue.lock().unwrap().take();
        processor.ready.store(0, Relaxed);
        task
    }

    fn change_idle(&self, number: usize) {
        fence(SeqCst);
        self.processors[number].idle.fetch_add(1, SeqCst);
        fence(SeqCst);
    }

    /// The next task; none when nothing can ever happen.
    fn idle(&self, number: usize) -> Option<Task> {
        let processor = &self.processors[number];
        if self.variant == Variant::LookWhileBusy && self.nothing_can_happen(Some(number)) {
            return self.give_up();
        }
        self.change_idle(number);
        loop {
            if processor.ready.load(Relaxed) != 0 {
                let early = self.variant == Variant::TakeWhileIdle;
                let task = if early { self.take(number) } else { None };
                self.change_idle(number);
                return task.or_else(|| self.take(number));
            }
            processor.halted.store(true, Relaxed);
            fence(SeqCst);
            if processor.ready.load(Relaxed) == 0 && !self.over.load(Acquire) {
                if self.variant != Variant::LookWhileBusy && self.nothing_can_happen(None) {
                    return self.give_up();
                }
                processor.interrupt.wait();
            }
            processor.halted.store(false, Relaxed);
            if self.over.load(Acquire) {
                return None;
            }
        }
    }

    fn give_up(&self) -> Option<Task> {
        self.over.store(true, SeqCst);
        for processor in &self.processors {
            processor.interrupt.notify();
        }
        None
    }

    /// `busy` counts as idle although it does not say so.
    fn nothing_can_happen(&self, busy: Option<usize>) -> bool {
        let changes = || [0, 1].map(|number| self.processors[number].idle.load(SeqCst));
        let before = changes();
        let all_idle = (0..2).all(|number| before[number] % 2 == 1 || busy == Some(number));
        if !all_idle {
            return false;
        }
        fence(SeqCst);
        let empty = |processor: &Processor| processor.queue.lock().unwrap().is_none();
        if self.variant != Variant::NoQueues && !self.processors.iter().all(empty) {
            return false;
        }
        fence(SeqCst);
        self.variant == Variant::NoSecondLook || changes() == before
    }
}

/// `answered`: the second task wakes the first one again.
fn run(variant: Variant, answered: bool) {
    search(2, move || {
        let machine = Arc::new(Machine::new(variant));
        let second = {
            let machine = Arc::clone(&machine);
            thread::spawn(move || {
                let task = machine.idle(1);
                if answered {
                    assert_eq!(task, Some(Task::Ping), "given up too early");
                    machine.make_ready(0, Task::Pong);
                    assert_eq!(machine.idle(1), Some(Task::Stop), "given up too early");
                } else {
                    assert_eq!(task, Some(Task::Ping), "given up too early");
                    assert_eq!(machine.idle(1), None);
                }
            })
        };
        machine.make_ready(1, Task::Ping);
        let task = machine.idle(0);
        if answered {
            assert_eq!(task, Some(Task::Pong), "given up too early");
            machine.make_ready(1, Task::Stop);
        } else {
            assert_eq!(task, None);
        }
        second.join().unwrap();
    });
}

#[test]
fn nobody_gives_up_too_early() {
    run(Variant::Whole, true);
}

#[test]
fn somebody_gives_up() {
    run(Variant::Whole, false);
}

#[test]
#[should_panic(expected = "given up too early")]
fn busy_in_between_counts() {
    run(Variant::NoSecondLook, true);
}

#[test]
#[should_panic(expected = "given up too early")]
fn a_processor_is_busy_before_it_takes_a_task() {
    run(Variant::TakeWhileIdle, true);
}

#[test]
#[should_panic(expected = "given up too early")]
fn queues_count() {
    run(Variant::NoQueues, true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_last_to_idle_looks() {
    run(Variant::LookWhileBusy, false);
}
