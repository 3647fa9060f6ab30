//! Giving the processor up, waiting, and being woken.

use core::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use super::list::List;
use super::processor::{self, Processor, Queue};
use super::task::{Place, Task};
use super::wait_table::WaitTable;
use super::{ThreadId, idle};
use crate::arch::{self, context, irq};
use crate::sync::LockGuard;
use crate::{Error, Result};

/// Bytes of stack, at most, that a thread needs from when others can continue it until it has left the
/// processor. A page fault in between would wait for a lock whose holder may wait for who continues it.
const SWITCH: usize = 2048;

/// Keys of waits that are not for a word of memory: no address has this bit.
pub const JOIN: usize = 1 << 63;

static WAITING: WaitTable<Task> = WaitTable::new();
/// Threads that wait for something that a device will bring.
static DEVICE_WAITS: AtomicU32 = AtomicU32::new(0);

/// True when a thread waits for something that a device will bring.
pub fn device_waits() -> bool {
    DEVICE_WAITS.load(Relaxed) != 0
}

/// Those who wait for `key`, and for others.
#[inline]
pub fn bucket(key: usize) -> LockGuard<'static, List<Task>> {
    WAITING.bucket(key)
}

/// Makes a task, which was taken from a queue, the running one as far as the books go.
#[inline]
pub fn note_next(this: &'static Processor, queue: &mut Queue, next: &'static Task) {
    this.note_running(queue, next);
    queue.arm();
    arch::cpu::set_thread_pointer(core::ptr::from_ref(next) as usize);
}

/// Gives the processor to the next ready task; comes back when the current one, which others can make
/// ready by now, has its turn again. Interrupts are off, before and after.
pub fn switch_away(current: &'static Task) {
    let this = Processor::this();
    let mut queue = this.lock();
    let Some(next) = this.pop(&mut queue) else {
        drop(queue);
        // SAFETY: interrupts are off, and the context is the current task's.
        unsafe { context::switch_to_idle(current.context.as_ptr(), idle::stack(), idle::run) };
        return;
    };
    note_next(this, &mut queue, next);
    drop(queue);
    if core::ptr::eq(next, current) {
        return;
    }
    // SAFETY: interrupts are off. The next task was taken from a queue, so that nobody else continues
    // it; its record is live until it has ended.
    unsafe { context::switch(current.context.as_ptr(), next.context.as_ptr()) };
}

/// With tasks made ready on this processor: gives way to one of higher priority, or sees to it that the
/// slice ends.
pub fn settle() {
    arch::touch_stack::<SWITCH>();
    let interrupts = irq::off();
    let this = Processor::this();
    let current = Task::current();
    let mut queue = this.lock();
    if this.outranked(&queue, current) {
        this.push(&mut queue, current);
        drop(queue);
        switch_away(current);
    } else {
        queue.arm();
        drop(queue);
    }
    irq::restore(interrupts);
}

/// [`Task::hold`]: the thread keeps its processor while it is ready to run.
const HOLDS: u8 = 1;
/// [`Task::hold`]: as [`HOLDS`], and another one should run.
pub const OUTRANKED: u8 = 2;

/// Keeps the running thread on its processor until [`release`], unless it waits: for as long as others would only
/// wait for what it has.
#[inline]
pub fn hold() {
    Task::current().hold.set(HOLDS);
}

/// Ends [`hold`], and gives way to who has become more urgent meanwhile.
#[inline]
pub fn release() {
    if Task::current().hold.replace(0) == OUTRANKED {
        settle();
    }
}

/// Lets the running task wait under `key`, in whose bucket it then stands, at most until `deadline`.
/// Without a bucket, it waits for the deadline alone.
///
/// # Errors
///
/// [`Error::TimedOut`].
pub fn block(
    key: usize,
    bucket: Option<LockGuard<'static, List<Task>>>,
    deadline: Option<u64>,
) -> Result<()> {
    arch::touch_stack::<SWITCH>();
    let interrupts = irq::off();
    let current = Task::current();
    let this = Processor::this();
    let timed_by = deadline.map_or(Place::NONE, |_| Place::of(this.number()));
    current.begin_wait(key, timed_by);
    if let Some(deadline) = deadline {
        this.lock().timers.insert(deadline, current);
    }
    let interrupts = match bucket {
        Some(mut bucket) => {
            bucket.push(current);
            // From here on, others can wake it.
            bucket.release_keep_interrupts_off()
        }
        None => interrupts,
    };
    switch_away(current);
    irq::restore(interrupts);
    if current.timed_out.get() { Err(Error::TimedOut) } else { Ok(()) }
}

/// Takes the task that has waited longest under `key`, for the caller to make it ready.
fn take(bucket: &mut List<Task>, key: usize) -> Option<&'static Task> {
    loop {
        let task = bucket.take(|task| task.key.load(Relaxed) == key)?;
        // Claimed before it is said that it stands in no bucket any more: otherwise who has seen its time
        // come could make it ready in between, and the claim be one to its next wait.
        let claimed = task.claim();
        if claimed {
            cancel_timer(task);
        }
        task.key.store(0, Release);
        if claimed {
            return Some(task);
        }
        // Its time had come: who found that makes it ready, from now on.
    }
}

/// Takes away the deadline of a task that was claimed.
fn cancel_timer(task: &'static Task) {
    if let Some(processor) = task.timed_by.get().number().and_then(Processor::get) {
        // Whoever has just seen the deadline come, and was too late, is done with the task when the lock
        // is free.
        processor.lock().timers.remove(task);
    }
}

/// Makes up to `count` tasks ready that wait under `key`; tells how many, and whether the processor has to look at its
/// own queue.
fn wake_all(key: usize, count: usize) -> (usize, bool) {
    let mut bucket = bucket(key);
    let (mut woken, mut here) = (0, false);
    while woken < count
        && let Some(task) = take(&mut bucket, key)
    {
        here |= processor::make_ready(task);
        woken += 1;
    }
    (woken, here)
}

/// Wakes up to `count` tasks that wait under `key`; tells how many.
pub fn wake_key(key: usize, count: usize) -> usize {
    let (woken, here) = wake_all(key, count);
    if here {
        settle();
    }
    woken
}

/// Wakes who waits for `word`, to run where the caller does, which is about to wait itself: nothing is gained by
/// bringing another processor to life for that.
pub fn wake_here(word: &AtomicU32) {
    let key = &raw const *word as usize;
    let mut bucket = bucket(key);
    while let Some(task) = take(&mut bucket, key) {
        if task.bound == Place::NONE {
            let this = Processor::this();
            this.push(&mut this.lock(), task);
        } else {
            processor::make_ready(task);
        }
    }
    drop(bucket);
    settle();
}

/// Makes those ready that wait for a thread to end. Interrupts are off.
pub fn wake_joiners(id: ThreadId) {
    wake_all(JOIN | id as usize, usize::MAX);
}

/// Makes those ready that wait for `word`; true when the caller has to [`settle`].
pub fn wake_without_switch(word: &AtomicU32) -> bool {
    wake_all(&raw const *word as usize, usize::MAX).1
}

/// Wakes, from an interrupt handler, what waits for `word`; the running thread's slice is over. Switching is left to
/// [`super::preempt`].
pub fn wake_from_interrupt(word: &AtomicU32) {
    if wake_all(&raw const *word as usize, usize::MAX).1 {
        Processor::this().lock().timer.expired = true;
    }
}

/// Waits for `word` like [`super::futex::wait`], for something that a device brings: when every thread
/// waits, this one is no sign of a deadlock.
///
/// # Errors
///
/// As for `futex::wait`.
pub fn wait_for_device(word: &AtomicU32, expected: u32, deadline: Option<u64>) -> Result<()> {
    DEVICE_WAITS.fetch_add(1, Relaxed);
    let result = super::futex::wait(word, expected, deadline);
    DEVICE_WAITS.fetch_sub(1, Relaxed);
    result
}

/// Sleeps until `deadline`, in nanoseconds of the monotonic clock.
pub fn sleep_until(deadline: u64) {
    // A sleep ends in no other way than by its time.
    let _ = block(0, None, Some(deadline));
}

/// Lets others of the same or a higher priority run.
pub fn yield_now() {
    arch::touch_stack::<SWITCH>();
    let interrupts = irq::off();
    let this = Processor::this();
    let current = Task::current();
    let mut queue = this.lock();
    let priority = current.priority.load(Relaxed);
    if queue.ready.highest().is_some_and(|highest| highest >= priority) {
        this.push(&mut queue, current);
        if let Some(next) = this.pop(&mut queue) {
            note_next(this, &mut queue, next);
            drop(queue);
            // SAFETY: as in `switch_away`. The next task is not the current one, which stands behind it.
            unsafe { context::switch(current.context.as_ptr(), next.context.as_ptr()) };
        }
    } else {
        drop(queue);
    }
    irq::restore(interrupts);
}

/// Makes those ready whose deadline has come, among the running processor's.
fn expire(now: u64) {
    let this = Processor::this();
    loop {
        let mut queue = this.lock();
        let task = loop {
            match queue.timers.expire(now) {
                None => return,
                // Under the lock, which who wakes it first waits for.
                Some(task) if task.claim() => break task,
                Some(_) => {}
            }
        };
        // Who has waited for a time is let in at once.
        queue.timer.expired = true;
        drop(queue);
        let key = task.key.load(Acquire);
        if key != 0 {
            let mut bucket = bucket(key);
            if task.key.swap(0, Relaxed) != 0 {
                bucket.remove(task);
            }
        }
        task.timed_out.set(true);
        processor::make_ready(task);
    }
}

/// The timer has interrupted.
pub fn timer_interrupt() {
    let this = Processor::this();
    let mut queue = this.lock();
    let slice = queue.timer.slice.take();
    queue.timer.wake = u64::MAX;
    if slice == Some(queue.switches) {
        queue.timer.expired = true;
    }
    if queue.timers.first().is_some() {
        drop(queue);
        expire(crate::time::monotonic());
        queue = this.lock();
    }
    queue.arm();
}
