//! What a processor does when no task is ready: it waits for an interrupt. It does so on its interrupt
//! stack: what an interrupt leaves of it is not needed, since idling begins anew after each.

use core::sync::atomic::Ordering::Relaxed;

use super::processor::{self, OTHERS, Processor};
use super::{registry, wait};
use crate::arch::{self, context, irq, local};
use crate::boot::status;
use crate::debug::Line;

/// The top of the running processor's stack for idling.
#[inline]
pub fn stack() -> usize {
    local::this().stack.get()
}

/// Idles until there is a task, and continues it. Interrupts are off.
pub extern "C" fn run() -> ! {
    let this = Processor::this();
    let local = local::this();
    processor::become_idle(this);
    run_own(this);
    if let Some(others) = OTHERS.get() {
        (others.idle)(this, local)
    }
    processor::enter_idle(this, local);
    loop {
        if nothing_ahead(this) && !wait::device_waits() {
            deadlock();
        }
        this.lock().arm();
        // Comes back only from what is no interrupt of the kernel's: after each, idling begins anew.
        irq::wait();
    }
}

/// Continues the next task of the running processor's own queue, if there is one.
pub fn run_own(this: &'static Processor) {
    let mut queue = this.lock();
    if let Some(task) = this.pop(&mut queue) {
        wait::note_next(this, &mut queue, task);
        drop(queue);
        // SAFETY: interrupts are off; the task was taken from a queue, so that nobody else continues it.
        // This stack is not needed any more.
        unsafe { context::resume(task.context.as_ptr()) }
    }
}

/// A processor has neither a task that is ready nor one that waits for a time.
pub fn nothing_ahead(processor: &'static Processor) -> bool {
    let queue = processor.lock();
    queue.ready.occupied() == 0 && queue.timers.first().is_none()
}

/// Tells of threads that can never be woken, and ends the machine.
pub fn deadlock() -> ! {
    let registry = registry::lock();
    let mut line = Line::new();
    line.text("skete: deadlock: nothing can ever wake the ")
        .number(registry.count() as u64)
        .text(" waiting threads:");
    for task in registry.iter().take(16) {
        line.text(" ").number(u64::from(task.id));
    }
    line.end();
    let main = registry.iter().min_by_key(|task| task.id);
    if let Some(task) = main {
        arch::trap::print_stack(context::frame_pointer(task.context.load(Relaxed)));
    }
    arch::power::end(status::DEADLOCK)
}
