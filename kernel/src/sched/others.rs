//! Several processors: which of them gets a task, how one looks for work, and how they come up.

use alloc::alloc::{Layout, alloc};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst, fence};

use super::processor::{self, IDLE, OTHERS, Others, Processor};
use super::task::{Place, Task};
use super::{NORMAL_PRIORITY, idle, wait};
use crate::arch::local::{self, Local};
use crate::arch::{self, apic, context, cpu, irq, smp, tlb};
use crate::debug::Line;
use crate::mm::frames;
use crate::time;

/// Cycles for which a processor looks for work before it halts: a wake-up by an interrupt takes about as
/// long.
const LOOK: u64 = 100_000;
/// How long a program that binds a thread to a processor waits for it to come up, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;

/// Processors that a program may count on: all that the machine has.
#[must_use]
pub fn processors() -> u32 {
    smp::count()
}

/// Starts the other processors, if that was not done yet; does not wait for them.
#[inline]
pub fn start() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if !STARTED.load(Relaxed) && !STARTED.swap(true, SeqCst) && smp::count() > 1 {
        bring_up();
    }
}

#[cold]
fn bring_up() {
    OTHERS.set(&Others { make_ready, pull, idle: look_for_work });
    let result = smp::start(idle::run, |number| {
        // The threads that they are for need memory, too.
        if frames::available() < frames::total() / 2 {
            return None;
        }
        // SAFETY: the layout has a size.
        let place = NonNull::new(unsafe { alloc(Layout::new::<Processor>()) })?.cast::<Processor>();
        // SAFETY: fresh memory, which is never freed.
        processor::publish(unsafe {
            place.write(Processor::new(number));
            place.as_ref()
        });
        Some(place.cast())
    });
    if let Err((count, reason)) = result {
        Line::new()
            .text("skete: ")
            .number(u64::from(count))
            .text(" processors stay off: ")
            .text(reason)
            .end();
    }
}

/// Waits a moment until the processor with this number runs; tells whether it does.
pub fn wait_for(number: u32) -> bool {
    let start = time::monotonic();
    while local::get(number).is_none() {
        if number >= smp::count() || time::monotonic() - start > PATIENCE {
            return false;
        }
        arch::relax();
    }
    true
}

/// Where a task that has become ready goes: to a processor that has nothing to do, or where it ranks
/// higher than what runs; else it stays with the one that made it ready.
fn choose(this: &'static Processor, task: &Task) -> &'static Processor {
    if let Some(number) = task.bound.number() {
        return Processor::get(number).unwrap_or(this);
    }
    let last = task.last.get();
    loop {
        let idle = IDLE.load(SeqCst);
        if idle == 0 {
            break;
        }
        let bit = if idle >> last & 1 != 0 { 1 << last } else { idle & idle.wrapping_neg() };
        if IDLE.fetch_and(!bit, SeqCst) & bit != 0 {
            return Processor::get(bit.trailing_zeros()).unwrap_or(this);
        }
    }
    let priority = task.priority.load(Relaxed);
    if UNEVEN.load(Relaxed) && priority <= this.running() {
        let lower = local::all()
            .filter_map(|local| Processor::get(local.number))
            .find(|other| other.running() < priority);
        return lower.unwrap_or(this);
    }
    this
}

fn make_ready(this: &'static Processor, task: &'static Task) -> bool {
    let chosen = choose(this, task);
    chosen.push(&mut chosen.lock(), task);
    if ptr::eq(chosen, this) {
        return true;
    }
    // Either we see that it halts, or it sees what was put into its queue.
    fence(SeqCst);
    // One that has not come up yet looks when it has.
    if let Some(local) = local::get(chosen.number())
        && (!local.is_idle() || local.halted.load(SeqCst))
    {
        apic::interrupt(local);
    }
    false
}

/// Not all threads have the same priority.
static UNEVEN: AtomicBool = AtomicBool::new(false);

/// A thread has got another priority: lets every processor see whether it should run something else.
pub fn priority_changed() {
    UNEVEN.store(true, SeqCst);
    let interrupts = irq::off();
    let this = local::this();
    for other in local::all().filter(|other| !ptr::eq(*other, this)) {
        apic::interrupt(other);
    }
    pull(Processor::this());
    irq::restore(interrupts);
}

/// A thread begins with this priority.
pub fn note_priority(priority: u8) {
    if priority != NORMAL_PRIORITY {
        UNEVEN.store(true, SeqCst);
    }
}

fn pull(this: &'static Processor) {
    if UNEVEN.load(Relaxed) {
        let priority = Task::current().priority.load(Relaxed);
        this.set_running(priority);
        if let Some(task) = steal(this, priority + 1) {
            this.push(&mut this.lock(), task);
        }
    }
}

/// Something stands in a queue that may run on `this`.
fn has_work(this: &'static Processor) -> bool {
    this.has_ready() || (0..local::online()).filter_map(Processor::get).any(Processor::has_unbound)
}

/// A ready task of another processor, of at least this priority, that may run on `this`.
fn steal(this: &'static Processor, priority: u8) -> Option<&'static Task> {
    let count = local::online();
    (1..count)
        .map(|distance| (this.number() + distance) % count)
        .filter_map(Processor::get)
        .filter(|other| other.has_unbound())
        .find_map(|other| other.steal(&mut other.lock(), priority))
}

/// Idles until there is a task, and continues it. Interrupts are off.
fn look_for_work(this: &'static Processor, local: &'static Local) -> ! {
    let mut start = cpu::timestamp();
    loop {
        // Not idle any more before a task is taken: otherwise nobody would seem to have it.
        if has_work(this) {
            processor::leave_idle(local);
            idle::run_own(this);
            if let Some(task) = steal(this, 0) {
                wait::note_next(this, &mut this.lock(), task);
                // SAFETY: interrupts are off; the task was taken from a queue, so that nobody else
                // continues it. This stack is not needed any more.
                unsafe { context::resume(task.context.as_ptr()) }
            }
        }
        if !local.is_idle() {
            processor::enter_idle(this, local);
        }
        if cpu::timestamp() - start < LOOK {
            tlb::answer();
            arch::relax();
            continue;
        }
        // Somebody may have sent something that another one has taken.
        IDLE.fetch_or(1 << local.number, SeqCst);
        // Either we see what is put into a queue from now on, or who puts it there sees that we halt.
        local.halted.store(true, SeqCst);
        if !has_work(this) {
            if nothing_can_happen() {
                idle::deadlock();
            }
            this.lock().arm();
            // Comes back only from what is no interrupt of the kernel's: after each, idling begins anew.
            irq::wait();
        }
        local.halted.store(false, SeqCst);
        start = cpu::timestamp();
    }
}

/// Every processor idles, no time is set, and no device is listened to: every thread waits for ever.
fn nothing_can_happen() -> bool {
    // A processor that has something to do between the first look and the second has counted up.
    let changes = || local::all().map(|local| local.idle.load(SeqCst));
    let sum = |sum: u32, change: u32| sum.wrapping_mul(31).wrapping_add(change);
    let before = changes().fold(0, sum);
    changes().all(|change| change & 1 != 0)
        && local::all().filter_map(|local| Processor::get(local.number)).all(idle::nothing_ahead)
        && !wait::device_waits()
        && changes().fold(0, sum) == before
}

/// Where a thread may run: anywhere, or on a processor that there is.
pub fn bound(core: Option<u32>) -> Option<Place> {
    match core {
        None => Some(Place::NONE),
        Some(number) => wait_for(number).then_some(Place::of(number)),
    }
}
