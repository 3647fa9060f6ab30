//! The sockets' own thread: it takes what the device brings, and does what is due.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::lock;
use crate::debug::{Level, Line};
use crate::{sched, time};

/// Counted up by the device's interrupts, and when something is due earlier than the thread knows.
pub static EVENTS: AtomicU32 = AtomicU32::new(0);

/// Bytes of its stack.
const STACK: usize = 64 << 10;

/// Starts it.
pub fn start() {
    if sched::spawn(run, 0, sched::NORMAL_PRIORITY, STACK, None).is_err() {
        Line::log(Level::Error, |line| {
            line.text("vsock: no memory for its thread; give the machine more (-m, --memory)");
        });
    }
}

/// Has the thread look when it has to do something next.
pub fn hurry() {
    EVENTS.fetch_add(1, SeqCst);
    sched::futex::wake(&EVENTS, 1);
}

extern "C" fn run(_: usize) {
    sched::set_name(b"vsock");
    loop {
        let events = EVENTS.load(SeqCst);
        // It was there when the thread was started.
        let Ok(mut room) = lock() else { return };
        room.card.disable_interrupts();
        room.work(time::monotonic());
        if !room.card.enable_interrupts() {
            continue;
        }
        let next = room.next();
        drop(room);
        if next.is_none_or(|at| at > time::monotonic()) {
            // Whatever ends the wait, everything is looked at again.
            let _ = sched::futex::wait(&EVENTS, events, next);
        }
    }
}
