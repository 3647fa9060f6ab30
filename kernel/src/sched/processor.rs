//! What the scheduler knows of each processor, and which of them gets a task that has become ready.

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst,
};

use super::run_queue::RunQueue;
use super::task::{Place, Task};
use super::timers::Timers;
use crate::arch::local::{self, Local, MOST};
use crate::arch::{apic, cpu};
use crate::sync::{Hook, Lock, LockGuard};
use crate::{arch, time};

/// How long a thread may run while another of its priority waits, in nanoseconds.
const SLICE: u64 = 3_000_000;

/// A processor, for the scheduler.
#[derive(Debug)]
pub struct Processor {
    number: u32,
    queue: Lock<Queue>,
    /// How many tasks stand in the queue, for a look without the lock.
    ready: AtomicU32,
    /// How many of them may run anywhere.
    unbound: AtomicU32,
    /// The priority of what it runs.
    running: AtomicU8,
    /// What it runs when it has nothing to run.
    idle: Task,
    /// A thread has ended here, and this was its stack; it is freed as soon as nobody runs on it.
    dead_stack: Cell<usize>,
    /// When it began to have nothing to run, by the time-stamp counter.
    idle_since: Cell<u64>,
}

// SAFETY: the cells are used by the processor itself, with interrupts off.
unsafe impl Sync for Processor {}

/// What is to happen on a processor.
#[derive(Debug)]
pub struct Queue {
    pub ready: RunQueue<Task>,
    pub timers: Timers<Task>,
    pub switches: u64,
    pub timer: Timer,
}

/// What a processor's timer was armed for.
#[derive(Debug)]
pub struct Timer {
    /// The end of a slice, which began after so many switches.
    pub slice: Option<u64>,
    /// It will interrupt not later than this, on the monotonic clock.
    pub wake: u64,
    /// The running thread's slice is over.
    pub expired: bool,
}

static FIRST: Processor = Processor::new(0);
static ALL: [AtomicPtr<Processor>; MOST] = [const { AtomicPtr::new(ptr::null_mut()) }; MOST];
/// What only a machine with several processors needs: an image whose program starts no thread holds
/// nothing of it.
pub static OTHERS: Hook<&'static Others> = Hook::new();

/// See [`OTHERS`].
#[derive(Debug)]
pub struct Others {
    /// [`make_ready`].
    pub make_ready: fn(&'static Processor, &'static Task) -> bool,
    /// Looks for something that ranks higher than what runs, and puts it into the own queue.
    pub pull: fn(&'static Processor),
    /// What [`super::idle::run`] goes on with.
    pub idle: fn(&'static Processor, &'static Local) -> !,
}

/// Bit n is set while processor n looks for something to run, and nobody has sent it something.
pub static IDLE: AtomicU64 = AtomicU64::new(0);
static IDLE_CYCLES: AtomicU64 = AtomicU64::new(0);

impl Processor {
    /// A processor on which nothing runs.
    pub const fn new(number: u32) -> Processor {
        Processor {
            number,
            queue: Lock::new(Queue {
                ready: RunQueue::new(),
                timers: Timers::new(),
                switches: 0,
                timer: Timer { slice: None, wake: 0, expired: false },
            }),
            ready: AtomicU32::new(0),
            unbound: AtomicU32::new(0),
            running: AtomicU8::new(0),
            idle: Task::new(0, 0, Place::NONE, 0, 0),
            dead_stack: Cell::new(0),
            idle_since: Cell::new(0),
        }
    }

    /// The running processor. Interrupts must be off for as long as the answer has to stay true.
    #[inline(always)]
    pub fn this() -> &'static Processor {
        // SAFETY: `init`, or `start_others`, has set it, for good.
        unsafe { &*local::this().scheduler.get().cast::<Processor>() }
    }

    /// The processor with this number, if there is one.
    pub fn get(number: u32) -> Option<&'static Processor> {
        // SAFETY: what is in the table stays there for good.
        unsafe { ALL.get(number as usize)?.load(Relaxed).as_ref() }
    }

    #[inline]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// What it runs when it has nothing to run.
    pub const fn idle_task(&'static self) -> &'static Task {
        &self.idle
    }

    #[inline]
    pub fn lock(&'static self) -> LockGuard<'static, Queue> {
        self.queue.lock()
    }

    /// The stack of the last thread that ended here, if it was not asked for yet. `stack` is the next
    /// one, or 0.
    #[inline]
    pub fn replace_dead_stack(&self, stack: usize) -> usize {
        self.dead_stack.replace(stack)
    }

    /// Puts a task into the queue.
    #[inline]
    pub fn push(&self, queue: &mut Queue, task: &'static Task) {
        let level = task.priority.load(Relaxed);
        task.level.set(level);
        task.set_queued(Place::of(self.number));
        queue.ready.push(task, level);
        self.count(task, 1);
    }

    /// Takes the next task out of the queue.
    #[inline]
    pub fn pop(&self, queue: &mut Queue) -> Option<&'static Task> {
        let task = queue.ready.pop()?;
        task.set_queued(Place::NONE);
        self.count(task, u32::MAX);
        Some(task)
    }

    /// The priority of what it runs.
    pub fn running(&self) -> u8 {
        self.running.load(Relaxed)
    }

    /// Notes that what it runs has another priority.
    pub fn set_running(&self, priority: u8) {
        self.running.store(priority, Relaxed);
    }

    /// Takes a task of at least this priority out of another's queue that may run here.
    pub fn steal(&self, queue: &mut Queue, priority: u8) -> Option<&'static Task> {
        let task =
            queue.ready.take(|task| task.bound == Place::NONE && task.level.get() >= priority)?;
        task.set_queued(Place::NONE);
        self.count(task, u32::MAX);
        Some(task)
    }

    /// Takes a task out of the queue that stands in it.
    pub fn remove(&self, queue: &mut Queue, task: &'static Task) {
        queue.ready.remove(task, task.level.get());
        task.set_queued(Place::NONE);
        self.count(task, u32::MAX);
    }

    /// Adds to the counts, with the queue locked.
    #[inline]
    fn count(&self, task: &Task, change: u32) {
        let add =
            |count: &AtomicU32| count.store(count.load(Relaxed).wrapping_add(change), Relaxed);
        add(&self.ready);
        if task.bound == Place::NONE {
            add(&self.unbound);
        }
    }

    /// Something stands in the queue for this processor.
    #[inline]
    pub fn has_ready(&self) -> bool {
        self.ready.load(SeqCst) != 0
    }

    /// Something stands in the queue for any processor.
    #[inline]
    pub fn has_unbound(&self) -> bool {
        self.unbound.load(SeqCst) != 0
    }

    /// Notes what runs from now on; begins its slice.
    #[inline]
    pub fn note_running(&self, queue: &mut Queue, task: &Task) {
        queue.switches += 1;
        queue.timer.expired = false;
        task.last.set(self.number);
        self.running.store(task.priority.load(Relaxed), Relaxed);
    }

    /// True when a ready task has to run before `current` goes on.
    #[inline]
    pub fn outranked(&self, queue: &Queue, current: &Task) -> bool {
        match queue.ready.highest() {
            None => false,
            Some(highest) => {
                let priority = current.priority.load(Relaxed);
                highest > priority || highest == priority && queue.timer.expired
            }
        }
    }
}

impl Queue {
    /// Arms the processor's timer for what is ahead, if it would otherwise come too late.
    #[inline]
    pub fn arm(&mut self) {
        let slice = self.ready.occupied() != 0;
        let deadline = self.timers.first();
        let in_time = deadline.is_none_or(|deadline| self.timer.wake <= deadline);
        if in_time && (!slice || self.timer.slice.is_some()) {
            return;
        }
        self.arm_for(slice, deadline);
    }

    #[inline(never)]
    fn arm_for(&mut self, slice: bool, deadline: Option<u64>) {
        let mut delay = if slice { SLICE } else { u64::MAX };
        self.timer.slice = slice.then_some(self.switches);
        self.timer.wake = u64::MAX;
        if let Some(deadline) = deadline {
            let now = time::monotonic();
            delay = delay.min(deadline.saturating_sub(now));
            self.timer.wake = now.saturating_add(delay);
        }
        apic::arm_timer(delay);
    }
}

/// Names the first processor, and what runs there before the first thread.
pub fn init() {
    publish(&FIRST);
    local::this().scheduler.set(ptr::from_ref(&FIRST).cast());
    become_idle(&FIRST);
}

/// Lets others find a processor by its number.
pub fn publish(processor: &'static Processor) {
    processor.queue.lock().timer.wake = u64::MAX;
    ALL[processor.number as usize].store(ptr::from_ref(processor).cast_mut(), SeqCst);
}

/// Makes the processor's idle task the running one.
pub fn become_idle(processor: &'static Processor) {
    let task = ptr::from_ref(&processor.idle) as usize;
    // SAFETY: a record of its own, with no thread-local data below it.
    unsafe { (task as *mut usize).write(task) };
    cpu::set_thread_pointer(task);
}

/// [`make_ready`] with interrupts on.
pub fn make_ready_from_thread(task: &'static Task) -> bool {
    let interrupts = arch::irq::off();
    let here = make_ready(task);
    arch::irq::restore(interrupts);
    here
}

/// Puts a task, which nobody else has, into a run queue, and sees to it that its processor looks there.
/// True when that is this one: then the caller is to see whether it has to give way. Interrupts are off.
pub fn make_ready(task: &'static Task) -> bool {
    let this = Processor::this();
    if let Some(others) = OTHERS.get() {
        return (others.make_ready)(this, task);
    }
    this.push(&mut this.lock(), task);
    true
}

/// Puts a task whose priority has changed where it belongs, if it stands in a queue. One that is just being
/// put there may keep the place of its old priority this once.
pub fn requeue(task: &'static Task) {
    while let Some(processor) = task.queued().number().and_then(Processor::get) {
        let mut queue = processor.lock();
        if task.queued() == Place::of(processor.number) {
            processor.remove(&mut queue, task);
            processor.push(&mut queue, task);
            return;
        }
    }
}

/// Begins having nothing to run.
pub fn enter_idle(this: &Processor, local: &Local) {
    this.idle_since.set(cpu::timestamp());
    local.idle.fetch_add(1, SeqCst);
    IDLE.fetch_or(1 << local.number, SeqCst);
}

/// Ends having nothing to run, if it is so.
pub fn leave_idle(local: &Local) {
    if local.is_idle() {
        let cycles = cpu::timestamp() - Processor::this().idle_since.get();
        IDLE_CYCLES.fetch_add(cycles, Relaxed);
        local.halted.store(false, SeqCst);
        IDLE.fetch_and(!(1 << local.number), SeqCst);
        local.idle.fetch_add(1, SeqCst);
        // What was taken away meanwhile.
        arch::tlb::answer();
    }
}

/// Cycles of the time-stamp counter in which a processor had nothing to do, over all processors.
#[must_use]
pub fn idle_cycles() -> u64 {
    IDLE_CYCLES.load(Relaxed)
}
