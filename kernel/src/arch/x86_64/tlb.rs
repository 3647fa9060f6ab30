//! Cached translations of addresses, on all processors.
//!
//! Who takes a page away asks the others to forget it, and waits until they have. A processor that has
//! nothing to do is not asked: it forgets everything before it goes on (Black et al., "Translation
//! Lookaside Buffer Consistency: A Software Approach", 1989).

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::apic;
use super::local::{self, Local};
use crate::mm::frames::FRAME;
use crate::sync::Hook;

/// How many requests there were.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// Forgets the translations of `pages` pages from `address`, here and on every other processor.
pub fn flush(address: usize, pages: usize) {
    if pages > 32 {
        return flush_all();
    }
    // Here and on the others, wherever the thread runs next.
    let interrupts = super::irq::off();
    for page in 0..pages {
        x86_64::instructions::tlb::flush(x86_64::VirtAddr::new((address + page * FRAME) as u64));
    }
    flush_others();
    super::irq::restore(interrupts);
}

/// Forgets everything, here and on every other processor.
pub fn flush_all() {
    let interrupts = super::irq::off();
    flush_own();
    flush_others();
    super::irq::restore(interrupts);
}

fn flush_others() {
    if let Some(others) = OTHERS.get() {
        (others.ask)();
    }
}

/// What only a machine with several processors needs.
pub(super) struct Others {
    ask: fn(),
}

static OTHERS: Hook<&'static Others> = Hook::new();

/// Other processors are about to come up.
pub(super) fn prepare() {
    OTHERS.set(&Others { ask: ask_others });
}

/// Forgets everything that the running processor has.
pub(super) fn flush_own() {
    // SAFETY: reloading CR3 with its own value flushes every translation that is not global.
    unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack)) };
}

/// Interrupts are off.
fn ask_others() {
    let request = REQUESTS.fetch_add(1, SeqCst) + 1;
    let this = local::this();
    let missing = |other: &&Local| {
        !core::ptr::eq(*other, this) && !other.is_idle() && other.flushed.load(SeqCst) < request
    };
    for other in local::all().filter(missing) {
        apic::interrupt(other);
    }
    for other in local::all() {
        while missing(&other) {
            // The other one may be waiting for us.
            answer();
            super::relax();
        }
    }
}

/// Does what other processors have asked for. Interrupts are off.
#[inline]
pub fn answer() {
    let this = local::this();
    let request = REQUESTS.load(SeqCst);
    if this.flushed.load(SeqCst) < request {
        flush_own();
        this.flushed.store(request, SeqCst);
    }
}
