//! The network's own thread: it takes what the cards bring, and does what is due.

use core::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};

use smoltcp::time::Instant;

use super::stack::{self, now};
use crate::debug::{Level, Line};
use crate::sched;

/// Counted up by the cards' interrupts, and when there is something due earlier than the thread knows.
pub static EVENTS: AtomicU32 = AtomicU32::new(0);
/// Microseconds of the monotonic clock until which the thread sleeps; 0 while it does not.
static SLEEPS_UNTIL: AtomicI64 = AtomicI64::new(0);

/// Bytes of its stack.
const STACK: usize = 256 << 10;

/// Starts it.
pub fn start() {
    let priority = sched::NORMAL_PRIORITY;
    if sched::spawn(run, 0, priority, STACK, None).is_err() {
        Line::log(Level::Error, |line| {
            line.text("network: no memory for its thread; give the machine more (-m, --memory)");
        });
    }
}

/// Something is due at `at`: the thread is woken if it would sleep longer.
pub fn expect(at: Instant) {
    if SLEEPS_UNTIL.load(SeqCst) > at.total_micros() {
        EVENTS.fetch_add(1, SeqCst);
        sched::futex::wake(&EVENTS, 1);
    }
}

/// Frames of a queue that are taken before others have their turn with the stack.
const BATCH: usize = 64;

extern "C" fn run(_: usize) {
    sched::set_name(b"network");
    loop {
        let events = EVENTS.load(SeqCst);
        let mut stack = stack::lock();
        stack.of_network = true;
        stack.disable_interrupts();
        let more = stack.receive(BATCH);
        stack.work();
        stack.unblock();
        stack.expire();
        stack.settle();
        if more || !stack.enable_interrupts() {
            continue;
        }
        let next = stack.next();
        // Under the lock: who finds something earlier due from now on sees it.
        SLEEPS_UNTIL.store(next.map_or(i64::MAX, |at| at.total_micros()), SeqCst);
        drop(stack);
        if next.is_none_or(|at| at > now()) {
            let deadline = next.map(|at| (at.total_micros() as u64).saturating_mul(1000));
            // Whatever ends the wait, everything is looked at again.
            let _ = sched::futex::wait(&EVENTS, events, deadline);
        }
        SLEEPS_UNTIL.store(0, SeqCst);
    }
}
