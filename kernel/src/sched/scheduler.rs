//! The scheduler of the one processor.
//!
//! A thread that has nothing to do costs nothing: there is no tick. The timer is armed for the next
//! deadline, and for the end of a time slice only while two threads want to run. With nobody ready,
//! the thread that blocked last waits for an interrupt on its own stack.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::links::{Links, NONE};
use super::run_queue::{PRIORITIES, RunQueue};
use super::timers::Timers;
use super::wait_table::WaitTable;
use super::{ThreadId, tls};
use crate::arch::trap::Frame;
use crate::arch::{self, apic, context, cpu, irq};
use crate::boot::status;
use crate::debug::Line;
use crate::mm::area::{self, Kind};
use crate::mm::frames::{self, FRAME};
use crate::sync::{Lock, LockGuard};
use crate::{Error, Result, time};

/// How long a thread may run while another of its priority waits, in nanoseconds.
const SLICE: u64 = 10_000_000;
/// The smallest stack that a thread gets: the kernel's own calls run on it too.
const SMALLEST_STACK: usize = 32 * 1024;
/// The stack of the thread that runs `main`, as on Linux.
const MAIN_STACK: usize = 8 * 1024 * 1024;
/// Bytes of a thread's stack that have their pages from the start.
const FILLED: usize = 1024;
/// Frames that a new thread must leave for what is there already, at most: a sixteenth of all, up to a
/// megabyte. A program that may not start another thread still has memory to say so.
const RESERVE: usize = 256;
/// The priority that a thread has when nobody says otherwise.
pub const NORMAL_PRIORITY: u8 = 2;

/// Keys of waits that are not for a word of memory: no address has these bits.
const JOIN: usize = 1 << 63;
const PARK: usize = 1 << 62;
const SLEEP: usize = JOIN | PARK;

struct Task {
    id: ThreadId,
    priority: u8,
    state: State,
    /// How the last wait ended.
    timed_out: bool,
    /// [`PARK`]ed tasks: a wake-up came before the wait.
    wake_pending: bool,
    /// Where `arch::context` left it.
    context: usize,
    thread_pointer: usize,
    stack: usize,
    preempted: Option<context::Preempted>,
    /// The next task in the same bucket of [`Scheduler::by_id`].
    next_by_id: u32,
    name: Name,
}

/// What a thread is called; shorter than a name of std's may be, and 0 behind it.
type Name = [u8; 24];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Ready,
    Waiting,
}

/// Everything about threads.
pub(super) struct Scheduler {
    tasks: Vec<Option<Box<Task>>>,
    free: Vec<u32>,
    by_id: Vec<u32>,
    links: Links,
    ready: RunQueue,
    waiting: WaitTable,
    timers: Timers,
    current: u32,
    last_id: ThreadId,
    /// Nobody is ready, and the current task waits for an interrupt.
    idle: bool,
    /// A thread has ended, and this was its stack; it is freed as soon as nobody runs on it.
    dead_stack: usize,
    switches: u64,
    timer: Timer,
}

/// What the timer was armed for.
struct Timer {
    /// The end of a slice, which began after so many switches.
    slice: Option<u64>,
    /// It will interrupt not later than this, on the monotonic clock.
    wake: u64,
    /// The running thread's slice is over.
    expired: bool,
}

pub(super) static SCHED: Lock<Scheduler> = Lock::new(Scheduler {
    tasks: Vec::new(),
    free: Vec::new(),
    by_id: Vec::new(),
    links: Links::new(),
    ready: RunQueue::new(),
    waiting: WaitTable::new(),
    timers: Timers::new(),
    current: 0,
    last_id: 0,
    idle: false,
    dead_stack: 0,
    switches: 0,
    timer: Timer {
        slice: None,
        wake: u64::MAX,
        expired: false,
    },
});

static CURRENT_ID: AtomicU32 = AtomicU32::new(0);
/// Threads that wait for something that a device will bring.
static DEVICE_WAITS: AtomicU32 = AtomicU32::new(0);

/// The running thread.
#[inline]
#[must_use]
pub fn current_id() -> ThreadId {
    CURRENT_ID.load(Relaxed)
}

/// Names the running thread, for the kernel's messages.
pub fn set_name(name: &[u8]) {
    let mut scheduler = SCHED.lock();
    let current = scheduler.current;
    let task = scheduler.task(current);
    // Nothing of an earlier, longer name stays.
    task.name = Name::default();
    for (place, byte) in task.name.iter_mut().zip(name) {
        *place = *byte;
    }
}

/// Adds the running thread's number, and its name if it has one, to a message. The name is left out
/// when the scheduler is at work: then the message is about that.
pub fn describe_current(line: &mut Line) {
    line.number(u64::from(current_id()));
    let Some(mut scheduler) = SCHED.try_lock() else {
        return;
    };
    let current = scheduler.current;
    if let Some(Some(task)) = scheduler.tasks.get_mut(current as usize)
        && task.name[0] != 0
    {
        let length = task.name.iter().position(|byte| *byte == 0);
        line.text(" (")
            .bytes(&task.name[..length.unwrap_or(task.name.len())])
            .text(")");
    }
}

impl Scheduler {
    fn task(&mut self, number: u32) -> &mut Task {
        self.tasks[number as usize]
            .as_mut()
            .expect("a task in a list is live")
    }

    fn find(&self, id: ThreadId) -> Option<u32> {
        let mut number = *self
            .by_id
            .get(id as usize & self.by_id.len().wrapping_sub(1))?;
        while number != NONE {
            let task = self.tasks[number as usize].as_ref()?;
            if task.id == id {
                return Some(number);
            }
            number = task.next_by_id;
        }
        None
    }

    /// Makes room for one more task in every table, and gives it a number.
    fn take_number(&mut self) -> Result<u32> {
        if let Some(number) = self.free.pop() {
            return Ok(number);
        }
        let count = self.tasks.len() + 1;
        let room = self.tasks.try_reserve(1).is_ok()
            && self.free.try_reserve(count).is_ok()
            && self.links.grow(count)
            && self.waiting.grow(count)
            && self.timers.grow(count);
        if !room {
            return Err(Error::OutOfMemory);
        }
        if count > self.by_id.len() {
            self.rehash(count.next_power_of_two().max(8))?;
        }
        self.tasks.push(None);
        Ok(count as u32 - 1)
    }

    fn rehash(&mut self, buckets: usize) -> Result<()> {
        let mut by_id = Vec::new();
        by_id
            .try_reserve_exact(buckets)
            .map_err(|_| Error::OutOfMemory)?;
        by_id.resize(buckets, NONE);
        for (number, task) in self.tasks.iter_mut().enumerate() {
            if let Some(task) = task {
                let bucket = &mut by_id[task.id as usize & (buckets - 1)];
                task.next_by_id = core::mem::replace(bucket, number as u32);
            }
        }
        self.by_id = by_id;
        Ok(())
    }

    /// Enters a task; gives its number and identity.
    fn add(
        &mut self,
        priority: u8,
        stack: usize,
        context: usize,
        thread_pointer: usize,
        state: State,
    ) -> Result<(u32, ThreadId)> {
        let number = self.take_number()?;
        self.last_id = self.last_id.wrapping_add(1).max(1);
        while self.find(self.last_id).is_some() {
            self.last_id = self.last_id.wrapping_add(1).max(1);
        }
        let id = self.last_id;
        let mask = self.by_id.len() - 1;
        let bucket = &mut self.by_id[id as usize & mask];
        let next_by_id = core::mem::replace(bucket, number);
        self.tasks[number as usize] = Some(Box::new(Task {
            id,
            priority,
            state,
            timed_out: false,
            wake_pending: false,
            context,
            thread_pointer,
            stack,
            preempted: None,
            next_by_id,
            name: Name::default(),
        }));
        Ok((number, id))
    }

    fn remove(&mut self, number: u32) -> Box<Task> {
        let task = self.tasks[number as usize].take().expect("a live task");
        let mask = self.by_id.len() - 1;
        let bucket = task.id as usize & mask;
        if self.by_id[bucket] == number {
            self.by_id[bucket] = task.next_by_id;
        } else {
            let mut at = self.by_id[bucket];
            while self.task(at).next_by_id != number {
                at = self.task(at).next_by_id;
            }
            self.task(at).next_by_id = task.next_by_id;
        }
        self.free.push(number);
        task
    }

    fn make_ready(&mut self, number: u32) {
        let task = self.task(number);
        task.state = State::Ready;
        let priority = task.priority;
        self.ready.push(&mut self.links, number, priority);
    }

    /// Ends a task's wait.
    fn wake(&mut self, number: u32, timed_out: bool) {
        self.timers.remove(number);
        self.task(number).timed_out = timed_out;
        self.make_ready(number);
    }

    /// True when a ready task has to run before the current one goes on.
    fn outranked(&mut self) -> bool {
        let Some(highest) = self.ready.highest() else {
            return false;
        };
        let expired = self.timer.expired;
        let priority = self.task(self.current).priority;
        highest > priority || highest == priority && expired
    }

    /// Makes a ready task the current one; gives its context.
    fn run(&mut self, number: u32) -> usize {
        self.current = number;
        self.switches += 1;
        self.timer.expired = false;
        let task = self.task(number);
        task.state = State::Running;
        CURRENT_ID.store(task.id, Relaxed);
        arch::cpu::set_thread_pointer(task.thread_pointer);
        let context = task.context;
        self.arm();
        context
    }

    /// Arms the timer for what is ahead, if it would otherwise come too late.
    fn arm(&mut self) {
        let slice = !self.ready.is_empty();
        let deadline = self.timers.first();
        let in_time = deadline.is_none_or(|deadline| self.timer.wake <= deadline);
        if in_time && (!slice || self.timer.slice.is_some()) {
            return;
        }
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

    /// Frees the stack of a thread that ended, unless it is the one in use.
    fn bury(&mut self) {
        let stack = core::mem::take(&mut self.dead_stack);
        if stack != 0 {
            area::free(stack).expect("a thread's stack is an area");
        }
    }
}

/// Starts the first thread: `main(argument)` on a stack of its own.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub fn start(
    main: extern "C" fn(usize) -> !,
    argument: usize,
) -> Result<core::convert::Infallible> {
    let (stack, thread_pointer, top) = new_stack(MAIN_STACK, 3 * FRAME)?;
    let mut scheduler = SCHED.lock();
    let (number, _) = scheduler.add(NORMAL_PRIORITY, stack, 0, thread_pointer, State::Running)?;
    scheduler.run(number);
    let _ = scheduler.release_keep_interrupts_off();
    irq::restore(true);
    // SAFETY: `new_stack` has filled the top of the stack, which is the new thread's.
    unsafe { context::enter(top, main, argument) }
}

/// A stack with a thread-local block at its top: the area, the thread pointer, the top. `filled` bytes
/// below the block have their pages already.
fn new_stack(size: usize, filled: usize) -> Result<(usize, usize, usize)> {
    let block = tls::size();
    let size = size
        .max(SMALLEST_STACK)
        .checked_add(block)
        .ok_or(Error::OutOfMemory)?;
    if frames::available() < RESERVE.min(frames::total() / 16) {
        return Err(Error::OutOfMemory);
    }
    let stack = area::allocate(size, FRAME, Kind::Stack)?;
    let end = stack + size.next_multiple_of(FRAME);
    // The part that is written to right away is filled now, while running out of memory is an error.
    if let Err(error) = area::fill_end(stack, (block + filled).div_ceil(FRAME)) {
        area::free(stack)?;
        return Err(error);
    }
    // SAFETY: the pages were just filled.
    let (thread_pointer, top) = unsafe { tls::install(end) };
    Ok((stack, thread_pointer, top))
}

/// What a new thread is told, at the top of its stack.
#[repr(C, align(16))]
struct Start {
    entry: extern "C" fn(usize),
    argument: usize,
}

/// Starts a thread that runs `entry(argument)`.
///
/// # Errors
///
/// [`Error::OutOfMemory`] when there is no room for its stack; [`Error::InvalidArgument`] for a
/// priority beyond the highest.
pub fn spawn(
    entry: extern "C" fn(usize),
    argument: usize,
    priority: u8,
    stack_size: usize,
) -> Result<ThreadId> {
    if usize::from(priority) >= PRIORITIES {
        return Err(Error::InvalidArgument);
    }
    let (stack, thread_pointer, top) = new_stack(stack_size, FILLED)?;
    let start = (top & !15) - size_of::<Start>();
    // SAFETY: `new_stack` has filled the top of the stack with room for this.
    let context = unsafe {
        (start as *mut Start).write(Start { entry, argument });
        context::prepare(start, first, start)
    };
    let mut scheduler = SCHED.lock();
    scheduler.bury();
    match scheduler.add(priority, stack, context, thread_pointer, State::Ready) {
        Ok((number, id)) => {
            scheduler.make_ready(number);
            settle(scheduler);
            Ok(id)
        }
        Err(error) => {
            drop(scheduler);
            area::free(stack)?;
            Err(error)
        }
    }
}

/// Where every thread but the first begins, with interrupts off.
extern "C" fn first(start: usize) -> ! {
    // SAFETY: `spawn` has written it to the top of this stack.
    let Start { entry, argument } = unsafe { (start as *const Start).read() };
    irq::restore(true);
    entry(argument);
    exit_thread()
}

/// Ends the running thread.
pub fn exit_thread() -> ! {
    let mut scheduler = SCHED.lock();
    scheduler.bury();
    let current = scheduler.current;
    let id = scheduler.task(current).id;
    while let Some(joiner) = take_waiting(&mut scheduler, JOIN | id as usize) {
        scheduler.wake(joiner, false);
    }
    let task = scheduler.remove(current);
    scheduler.dead_stack = task.stack;
    drop(task);
    let mut scheduler = wait_for_ready(scheduler, true);
    let next = pop_ready(&mut scheduler).expect("a task is ready");
    let context = scheduler.run(next);
    let _ = scheduler.release_keep_interrupts_off();
    // SAFETY: interrupts are off, and `context` is where the task stopped. This stack is freed later,
    // by another thread.
    unsafe { context::resume(context) }
}

fn pop_ready(scheduler: &mut Scheduler) -> Option<u32> {
    scheduler.ready.pop(&mut scheduler.links)
}

fn take_waiting(scheduler: &mut Scheduler, key: usize) -> Option<u32> {
    scheduler.waiting.pop(&mut scheduler.links, key)
}

/// With tasks made ready: gives way to one of higher priority, or sees to it that the slice ends.
fn settle(mut scheduler: LockGuard<'static, Scheduler>) {
    if scheduler.outranked() {
        let current = scheduler.current;
        scheduler.make_ready(current);
        switch_away(scheduler);
    } else {
        scheduler.arm();
    }
}

static IDLE: AtomicU64 = AtomicU64::new(0);

/// Cycles of the time-stamp counter in which no task was ready.
#[must_use]
pub fn idle_cycles() -> u64 {
    IDLE.load(Relaxed)
}

/// Waits until a task is ready. `gone`: the current task exists no more.
fn wait_for_ready(
    mut scheduler: LockGuard<'static, Scheduler>,
    gone: bool,
) -> LockGuard<'static, Scheduler> {
    while scheduler.ready.is_empty() {
        if scheduler.timers.first().is_none() && DEVICE_WAITS.load(Relaxed) == 0 {
            drop(scheduler);
            deadlock(gone);
        }
        scheduler.idle = true;
        scheduler.arm();
        // The guard of an outer lock would restore interrupts itself; here they are wanted for the
        // moment of waiting only.
        let interrupts = scheduler.release_keep_interrupts_off();
        let before = cpu::timestamp();
        irq::wait();
        irq::restore(interrupts);
        IDLE.fetch_add(cpu::timestamp() - before, Relaxed);
        scheduler = SCHED.lock();
        scheduler.idle = false;
    }
    scheduler
}

/// Gives the processor to the next ready task; comes back when the current one, which stands in a
/// queue, has its turn again.
fn switch_away(scheduler: LockGuard<'static, Scheduler>) {
    let mut scheduler = wait_for_ready(scheduler, false);
    let next = pop_ready(&mut scheduler).expect("a task is ready");
    let current = scheduler.current;
    if next == current {
        scheduler.run(current);
        return;
    }
    let context = scheduler.run(next);
    let save = &raw mut scheduler.task(current).context;
    let interrupts = scheduler.release_keep_interrupts_off();
    // SAFETY: interrupts are off; the task's box stays where it is until it has ended; `context` is
    // where the next task stopped.
    unsafe { context::switch(save, context) };
    irq::restore(interrupts);
}

/// Lets the current task wait under `key`, at most until `deadline`.
pub(super) fn block(
    mut scheduler: LockGuard<'static, Scheduler>,
    key: usize,
    deadline: Option<u64>,
) -> Result<()> {
    let current = scheduler.current;
    {
        let Scheduler {
            waiting,
            links,
            timers,
            ..
        } = &mut *scheduler;
        waiting.push(links, key, current);
        if let Some(deadline) = deadline {
            timers.insert(deadline, current);
        }
    }
    let task = scheduler.task(current);
    task.state = State::Waiting;
    task.timed_out = false;
    let timed_out = &raw const task.timed_out;
    switch_away(scheduler);
    // SAFETY: the box of the running task is live, and only a waiting task's is changed by others.
    if unsafe { timed_out.read() } {
        Err(Error::TimedOut)
    } else {
        Ok(())
    }
}

/// Wakes up to `count` tasks that wait under `key`.
pub(super) fn wake_key(key: usize, count: usize) -> usize {
    let mut scheduler = SCHED.lock();
    let mut woken = 0;
    while woken < count
        && let Some(task) = take_waiting(&mut scheduler, key)
    {
        scheduler.wake(task, false);
        woken += 1;
    }
    if woken > 0 {
        settle(scheduler);
    }
    woken
}

/// Wakes, from an interrupt handler, what waits for `word`. Switching is left to [`preempt`].
pub fn wake_from_interrupt(word: &AtomicU32) {
    let mut scheduler = SCHED.lock();
    while let Some(task) = take_waiting(&mut scheduler, &raw const *word as usize) {
        scheduler.wake(task, false);
        scheduler.timer.expired = true;
    }
}

/// Waits for `word` like [`futex::wait`](super::futex::wait), for something that a device brings:
/// when every thread waits, this one is no sign of a deadlock.
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
    let scheduler = SCHED.lock();
    let key = SLEEP | scheduler.current as usize;
    // A sleep ends in no other way than by its time.
    let _ = block(scheduler, key, Some(deadline));
}

/// Lets others of the same or a higher priority run.
pub fn yield_now() {
    let mut scheduler = SCHED.lock();
    let current = scheduler.current;
    let priority = scheduler.task(current).priority;
    if scheduler
        .ready
        .highest()
        .is_some_and(|highest| highest >= priority)
    {
        scheduler.make_ready(current);
        switch_away(scheduler);
    }
}

/// Waits until a thread has ended. One that ended before, or never was, is not waited for.
///
/// # Errors
///
/// [`Error::InvalidArgument`] when a thread waits for itself; [`Error::NoSuchThread`] when there was
/// no such thread.
pub fn join(id: ThreadId) -> Result<()> {
    let mut scheduler = SCHED.lock();
    if scheduler.find(id).is_none() {
        let existed = id != 0 && id <= scheduler.last_id;
        return if existed {
            Ok(())
        } else {
            Err(Error::NoSuchThread)
        };
    }
    let current = scheduler.current;
    if scheduler.task(current).id == id {
        return Err(Error::InvalidArgument);
    }
    block(scheduler, JOIN | id as usize, None)
}

/// Sleeps until [`unpark`] is called for the running thread, or was since the last `park`, or the
/// deadline has come.
///
/// # Errors
///
/// [`Error::TimedOut`].
pub fn park(deadline: Option<u64>) -> Result<()> {
    let mut scheduler = SCHED.lock();
    let current = scheduler.current;
    if core::mem::take(&mut scheduler.task(current).wake_pending) {
        return Ok(());
    }
    let key = PARK | scheduler.task(current).id as usize;
    block(scheduler, key, deadline)
}

/// Ends a thread's [`park`], or its next one.
///
/// # Errors
///
/// [`Error::NoSuchThread`].
pub fn unpark(id: ThreadId) -> Result<()> {
    if wake_key(PARK | id as usize, 1) == 0 {
        let mut scheduler = SCHED.lock();
        let task = scheduler.find(id).ok_or(Error::NoSuchThread)?;
        scheduler.task(task).wake_pending = true;
    }
    Ok(())
}

/// The running thread's priority.
#[must_use]
pub fn priority() -> u8 {
    let mut scheduler = SCHED.lock();
    let current = scheduler.current;
    scheduler.task(current).priority
}

/// Changes a thread's priority.
///
/// # Errors
///
/// [`Error::NoSuchThread`]; [`Error::InvalidArgument`] for a priority beyond the highest.
pub fn set_priority(id: ThreadId, priority: u8) -> Result<()> {
    if usize::from(priority) >= PRIORITIES {
        return Err(Error::InvalidArgument);
    }
    let mut scheduler = SCHED.lock();
    let number = scheduler.find(id).ok_or(Error::NoSuchThread)?;
    let task = scheduler.task(number);
    let (state, old) = (task.state, task.priority);
    task.priority = priority;
    if state == State::Ready {
        let Scheduler { ready, links, .. } = &mut *scheduler;
        ready.remove(links, number, old);
        ready.push(links, number, priority);
    }
    settle(scheduler);
    Ok(())
}

/// The timer has interrupted.
pub fn timer_interrupt() {
    let mut scheduler = SCHED.lock();
    let slice = scheduler.timer.slice.take();
    scheduler.timer.wake = u64::MAX;
    if slice == Some(scheduler.switches) {
        scheduler.timer.expired = true;
    }
    if scheduler.timers.first().is_some() {
        let now = time::monotonic();
        while let Some(task) = scheduler.timers.expire(now) {
            let Scheduler { waiting, links, .. } = &mut *scheduler;
            waiting.remove(links, task);
            scheduler.wake(task, true);
            // Who has waited for a time is let in at once.
            scheduler.timer.expired = true;
        }
    }
    scheduler.arm();
}

/// Takes the processor from the thread that an interrupt has just been handled in, if another one is to
/// run.
pub fn preempt(frame: &Frame) {
    let mut scheduler = SCHED.lock();
    if scheduler.idle || !scheduler.outranked() {
        return;
    }
    let current = scheduler.current;
    let task = scheduler.task(current);
    if task.preempted.is_none() {
        // Without memory for its registers, a thread runs on until it waits.
        task.preempted = context::Preempted::new();
    }
    let Some(preempted) = &mut task.preempted else {
        return;
    };
    task.context = preempted.save(frame);
    scheduler.make_ready(current);
    let next = pop_ready(&mut scheduler).expect("the current task, if no other");
    let context = scheduler.run(next);
    let _ = scheduler.release_keep_interrupts_off();
    // SAFETY: interrupts are off; `context` is where the next task stopped. The interrupt's stack is
    // free again.
    unsafe { context::resume(context) }
}

/// Every thread waits, no time is set, and no device is listened to: nothing can ever happen again.
fn deadlock(gone: bool) -> ! {
    let scheduler = SCHED.lock();
    let count = scheduler.tasks.iter().flatten().count();
    let mut line = Line::new();
    line.text("skete: deadlock: nothing can ever wake the ")
        .number(count as u64)
        .text(" waiting threads:");
    for task in scheduler.tasks.iter().flatten().take(16) {
        line.text(" ").number(u64::from(task.id));
    }
    line.end();
    if !gone {
        arch::trap::print_own_stack();
    }
    arch::power::end(status::DEADLOCK)
}
