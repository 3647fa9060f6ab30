//! The clocks that KVM keeps for its guests: one that counts from the machine's start, on a page for each
//! processor, and the host's wall clock (Linux, Documentation/virt/kvm/x86/msr.rst).
//!
//! A processor asks for its page when it first reads it.

use core::sync::atomic::{
    AtomicU8, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use x86_64::registers::model_specific::Msr;

use super::{clock, cpu, irq, local};
use crate::mm::frames::{self, FRAME};
use crate::sync::Lock;
use crate::time::page::{ClockPage, HostTime, Reading, STABLE};

const CLOCK_SOURCE_2: u32 = 1 << 3;
const CLOCK_SOURCE_STABLE: u32 = 1 << 24;

const WALL_CLOCK: u32 = 0x4b56_4d00;
const SYSTEM_TIME: u32 = 0x4b56_4d01;
const ENABLE: u64 = 1;

/// The frame with all processors' pages, as an address in the direct map; or one of these.
static PAGES: AtomicUsize = AtomicUsize::new(UNKNOWN);
const UNKNOWN: usize = 0;
const NONE: usize = 1;
/// Flags that KVM vouches for.
static KNOWN_FLAGS: AtomicU8 = AtomicU8::new(!0);

const _: () = assert!(local::MOST * size_of::<ClockPage>() == FRAME);

/// Where the processors' pages are, if KVM offers its clocks. Interrupts are off.
fn pages() -> Option<usize> {
    match PAGES.load(Acquire) {
        UNKNOWN => start(),
        NONE => None,
        pages => Some(pages),
    }
}

#[cold]
fn start() -> Option<usize> {
    /// For one at a time.
    static STARTING: Lock<()> = Lock::new(());
    let _guard = STARTING.lock();
    if PAGES.load(Relaxed) != UNKNOWN {
        return pages();
    }
    let features = clock::kvm_features();
    if features & CLOCK_SOURCE_STABLE == 0 {
        KNOWN_FLAGS.store(!STABLE, Relaxed);
    }
    let offered = features & CLOCK_SOURCE_2 != 0;
    // Without memory for it, there is none.
    let frame = offered.then(|| frames::allocate(1)).flatten();
    let pages = frame.map(super::direct);
    if let Some(pages) = pages {
        // SAFETY: a frame that is nobody else's, in the direct map.
        unsafe { (pages as *mut u8).write_bytes(0, FRAME) };
    }
    PAGES.store(pages.unwrap_or(NONE), Release);
    pages
}

/// The running processor's page, if KVM writes it. Interrupts are off.
#[inline(never)]
fn own() -> Option<&'static ClockPage> {
    let page = pages()? + local::this().number as usize * size_of::<ClockPage>();
    // SAFETY: one of the frame's places, which stay for good; all zeros are a page.
    let page = unsafe { &*(page as *const ClockPage) };
    if page.version() == 0 {
        tell(SYSTEM_TIME, page, ENABLE);
    }
    (page.version() != 0).then_some(page)
}

/// Does something with it.
fn with_own<T>(work: impl FnOnce(&ClockPage) -> Option<T>) -> Option<T> {
    let interrupts = irq::off();
    let result = own().and_then(work);
    irq::restore(interrupts);
    result
}

/// Tells KVM where it may write: a part of the frame.
fn tell<T>(register: u32, place: &T, flags: u64) {
    let physical = place as *const T as usize - super::DIRECT_MAP;
    // SAFETY: CPUID announced the register; what KVM writes to are atomics.
    unsafe { Msr::new(register).write(physical as u64 | flags) };
}

/// The clock that counts from the machine's start; `None` when this is not KVM.
#[must_use]
pub fn read() -> Option<Reading> {
    with_own(|page| {
        let mut reading = page.read(cpu::timestamp);
        reading.flags &= KNOWN_FLAGS.load(Relaxed);
        Some(reading)
    })
}

/// Cycles of the time-stamp counter in a second, when KVM tells.
#[must_use]
pub fn frequency() -> Option<u64> {
    with_own(ClockPage::frequency)
}

/// The running processor's page has changed since its last [`host`].
#[inline]
#[must_use]
pub fn has_news() -> bool {
    PAGES.load(Relaxed) > NONE && with_own(|page| Some(page.has_news())) == Some(true)
}

/// The host's wall clock, if KVM tells.
#[must_use]
pub fn host() -> Option<HostTime> {
    with_own(|page| {
        let mut tries = 3;
        loop {
            let version = page.version();
            tell(WALL_CLOCK, &page.wall, 0);
            let start = page.wall.read()?;
            let reading = page.read(cpu::timestamp);
            tries -= 1;
            // The two belong to the same state of the machine; otherwise the next question asks again.
            if reading.version == version || tries == 0 {
                page.note_seen(version);
                return Some(HostTime {
                    wall: start.wrapping_add(reading.nanoseconds as i64),
                    reading,
                    stopped: page.take_stopped(),
                });
            }
        }
    })
}
