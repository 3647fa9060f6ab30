//! Threads: how they begin and end.

use core::ptr;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::processor::{self, OTHERS, Processor};
use super::run_queue::PRIORITIES;
use super::task::{Name, Place, Task};
use super::{NORMAL_PRIORITY, ThreadId, idle, others, registry, tls, wait};
use crate::arch::trap::Frame;
use crate::arch::{context, irq};
use crate::debug::Line;
use crate::mm::frames::{self, FRAME};
use crate::mm::{area, stacks};
use crate::{Error, Result};

/// The smallest stack that a thread gets: the kernel's own calls run on it too.
const SMALLEST_STACK: usize = 32 * 1024;
/// The stack of the thread that runs `main`, as on Linux.
const MAIN_STACK: usize = 8 * 1024 * 1024;
/// Bytes of a thread's stack that have their pages from the start.
const FILLED: usize = 1024;
/// Frames that a new thread must leave for what is there already, at most: a sixteenth of all, up to a
/// megabyte. A program that may not start another thread still has memory to say so.
const RESERVE: usize = 256;

/// The running thread.
#[inline]
#[must_use]
pub fn current_id() -> ThreadId {
    Task::current().id
}

/// Names the running thread, for the kernel's messages.
pub fn set_name(name: &[u8]) {
    let mut padded = Name::default();
    for (place, byte) in padded.iter_mut().zip(name) {
        *place = *byte;
    }
    // SAFETY: the name of the running thread, which it writes itself.
    unsafe { Task::current().name.get().write(padded) };
}

/// Adds the running thread's number, and its name if it has one, to a message.
pub fn describe_current(line: &mut Line) {
    let task = Task::current();
    line.number(u64::from(task.id));
    match task.name() {
        b"" => {}
        name => _ = line.text(" (").bytes(name).text(")"),
    }
}

/// Makes the first processor's scheduler ready: from now on something is running.
pub fn init() {
    processor::init();
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
    let (size, filled) = Stack::needs(MAIN_STACK, 3 * FRAME)?;
    let stack = Stack::at(area::allocate_stack(size, filled)?, size);
    let top = stack.top;
    let task = stack.hold(registry::FIRST, NORMAL_PRIORITY, Place::NONE, 0);
    registry::lock().insert(task);
    let this = Processor::this();
    wait::note_next(this, &mut this.lock(), task);
    irq::restore(true);
    // SAFETY: the top of the stack was filled, and is the new thread's.
    unsafe { context::enter(top, main, argument) }
}

/// A stack with a thread's record and thread-local block at its top.
struct Stack {
    /// The area that it is.
    area: usize,
    /// Where the record goes.
    record: usize,
    /// The end of what is left.
    top: usize,
}

impl Stack {
    /// Bytes of the area for a stack of `size` bytes, and how many pages are to be there from the start
    /// for `filled` bytes below the record and the block.
    fn needs(size: usize, filled: usize) -> Result<(usize, usize)> {
        let block = tls::size(size_of::<Task>());
        let size = size.max(SMALLEST_STACK).checked_add(block);
        Ok((size.ok_or(Error::OutOfMemory)?, (block + filled).div_ceil(FRAME)))
    }

    fn at(area: usize, size: usize) -> Stack {
        let end = area + size.next_multiple_of(FRAME);
        let (record, top) = tls::place(end, size_of::<Task>());
        Stack { area, record, top }
    }

    /// A stack of `size` bytes, of which [`FILLED`] have their pages already.
    fn new(size: usize) -> Result<Stack> {
        let (size, filled) = Stack::needs(size, FILLED)?;
        let area = stacks::take(size, filled, || {
            frames::available() >= RESERVE.min(frames::total() / 16)
        })?;
        Ok(Stack::at(area, size))
    }

    /// Writes the record, with the thread-local block below it.
    fn hold(self, id: ThreadId, priority: u8, bound: Place, context: usize) -> &'static Task {
        let record = self.record as *mut Task;
        // SAFETY: laid out by `place`, in pages that are filled and nobody else's.
        unsafe {
            record.write(Task::new(id, priority, bound, self.area, context));
            tls::install(self.record);
            &*record
        }
    }
}

/// What a new thread is told, at the top of its stack.
#[repr(C, align(16))]
struct Start {
    entry: extern "C" fn(usize),
    argument: usize,
}

/// Starts a thread that runs `entry(argument)`, on any processor, or only on that with the number `core`.
///
/// # Errors
///
/// [`Error::OutOfMemory`] when there is no room for its stack; [`Error::InvalidArgument`] for a
/// priority beyond the highest, or a processor that there is not.
pub fn spawn(
    entry: extern "C" fn(usize),
    argument: usize,
    priority: u8,
    stack_size: usize,
    core: Option<u32>,
) -> Result<ThreadId> {
    if usize::from(priority) >= PRIORITIES {
        return Err(Error::InvalidArgument);
    }
    others::start();
    others::note_priority(priority);
    let bound = others::bound(core).ok_or(Error::InvalidArgument)?;
    bury();
    let stack = Stack::new(stack_size)?;
    let start = (stack.top & !15) - size_of::<Start>();
    // SAFETY: the top of the stack is filled, with room for this.
    let context = unsafe {
        (start as *mut Start).write(Start { entry, argument });
        context::prepare(start, first, start)
    };
    let mut registry = registry::lock();
    let id = match registry.reserve() {
        Ok(id) => id,
        Err(error) => {
            drop(registry);
            stacks::give(stack.area);
            return Err(error);
        }
    };
    let task = stack.hold(id, priority, bound, context);
    task.last.set(Task::current().last.get());
    registry.insert(task);
    drop(registry);
    // Nothing ends the thread before it has run.
    if processor::make_ready_from_thread(task) {
        wait::settle();
    }
    Ok(id)
}

/// Where every thread but the first begins, with interrupts off.
extern "C" fn first(start: usize) -> ! {
    // SAFETY: `spawn` has written it to the top of this stack.
    let Start { entry, argument } = unsafe { (start as *const Start).read() };
    irq::restore(true);
    entry(argument);
    exit_thread()
}

/// Gives the stack of the last thread that has ended on this processor to others.
fn bury() {
    let interrupts = irq::off();
    let stack = Processor::this().replace_dead_stack(0);
    irq::restore(interrupts);
    if stack != 0 {
        stacks::give(stack);
    }
}

/// Ends the running thread.
pub fn exit_thread() -> ! {
    irq::off();
    // With interrupts off until the end: no other thread leaves its stack there in between.
    bury();
    let current = Task::current();
    // SAFETY: the running thread's own; interrupts are off, so that nothing needs it any more.
    drop(unsafe { (*current.preempted.get()).take() });
    registry::lock().remove(current);
    wait::wake_joiners(current.id);
    let this = Processor::this();
    this.replace_dead_stack(current.stack);
    idle::run_own(this);
    // SAFETY: interrupts are off. This stack is given away later, when nobody runs on it.
    unsafe { context::idle(idle::stack(), idle::run) }
}

/// Waits until a thread has ended. One that ended before is not waited for.
///
/// # Errors
///
/// [`Error::InvalidArgument`] when a thread waits for itself; [`Error::NoSuchThread`] when there was
/// no such thread.
pub fn join(id: ThreadId) -> Result<()> {
    let registry = registry::lock();
    match registry.find(id) {
        None if registry.existed(id) => return Ok(()),
        None => return Err(Error::NoSuchThread),
        Some(task) if ptr::eq(task, Task::current()) => return Err(Error::InvalidArgument),
        Some(_) => {}
    }
    let key = wait::JOIN | id as usize;
    let bucket = wait::bucket(key);
    // The thread takes itself out of the registry before it looks into the bucket.
    let interrupts = registry.release_keep_interrupts_off();
    let result = wait::block(key, Some(bucket), None);
    irq::restore(interrupts);
    result
}

/// Sleeps until [`unpark`] is called for the running thread, or was since the last `park`, or the
/// deadline has come.
///
/// # Errors
///
/// [`Error::TimedOut`].
pub fn park(deadline: Option<u64>) -> Result<()> {
    let unparked = &Task::current().unparked;
    while unparked.swap(0, SeqCst) == 0 {
        match super::futex::wait(unparked, 0, deadline) {
            Err(Error::TimedOut) => return Err(Error::TimedOut),
            // Changed or woken: look again.
            _ => continue,
        }
    }
    Ok(())
}

/// Ends a thread's [`park`], or its next one.
///
/// # Errors
///
/// [`Error::NoSuchThread`].
pub fn unpark(id: ThreadId) -> Result<()> {
    let registry = registry::lock();
    let task = registry.find(id).ok_or(Error::NoSuchThread)?;
    task.unparked.store(1, SeqCst);
    let here = wait::wake_without_switch(&task.unparked);
    drop(registry);
    if here {
        wait::settle();
    }
    Ok(())
}

/// The running thread's priority.
#[must_use]
pub fn priority() -> u8 {
    Task::current().priority.load(Relaxed)
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
    let registry = registry::lock();
    let task = registry.find(id).ok_or(Error::NoSuchThread)?;
    task.priority.store(priority, SeqCst);
    processor::requeue(task);
    drop(registry);
    others::priority_changed();
    wait::settle();
    Ok(())
}

/// An interrupt has come in: what idled does not any more.
#[inline]
pub fn interrupted() {
    processor::leave_idle(crate::arch::local::this());
}

/// Takes the processor from the thread that an interrupt has just been handled in, if another one is to
/// run.
pub fn preempt(frame: &Frame) {
    let this = Processor::this();
    let current = Task::current();
    if ptr::eq(current, this.idle_task()) {
        // SAFETY: idling keeps nothing on its stack, which is the one that this runs on.
        unsafe { context::idle(idle::stack(), idle::run) }
    }
    if let Some(others) = OTHERS.get() {
        (others.pull)(this);
    }
    let mut queue = this.lock();
    let outranked = this.outranked(&queue, current);
    if outranked && current.hold.get() != 0 {
        current.hold.set(wait::OUTRANKED);
    }
    if !outranked || current.hold.get() != 0 {
        // Something may have been put there from outside.
        queue.arm();
        return;
    }
    // SAFETY: the running thread's own; interrupts are off.
    let block = unsafe { &mut *current.preempted.get() };
    if block.is_none() {
        // Without memory for its registers, a thread runs on until it waits.
        *block = context::Preempted::new();
    }
    let Some(block) = block else {
        return;
    };
    current.context.store(block.save(frame), SeqCst);
    this.push(&mut queue, current);
    let next = this.pop(&mut queue).expect("the current task, if no other");
    wait::note_next(this, &mut queue, next);
    drop(queue);
    // SAFETY: interrupts are off; `next` was taken from the queue. The interrupt's stack is free again.
    unsafe { context::resume(next.context.as_ptr()) }
}
