//! The monotonic clock and the wall clock. Neither is looked at before a program asks.

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::arch::{self, clock, cpu, rtc};
use crate::boot::status;
use crate::debug::Line;
use crate::sync::Lock;

/// Nanoseconds for a cycle of the time-stamp counter, times 2^32; 0 before the first question.
static SCALE: AtomicU64 = AtomicU64::new(0);
/// The time-stamp counter is the clock; otherwise it is [`REFERENCE`].
static STEADY: AtomicBool = AtomicBool::new(true);
static REFERENCE: Lock<Option<clock::Hpet>> = Lock::new(None);
/// Nanoseconds from the epoch to the monotonic clock's zero; `i64::MIN` before the first question.
static EPOCH: AtomicI64 = AtomicI64::new(i64::MIN);

/// Nanoseconds since the machine started.
#[inline]
#[must_use]
pub fn monotonic() -> u64 {
    // The scale first: finding it out takes time.
    let scale = scale();
    if STEADY.load(Relaxed) {
        return scaled(cpu::timestamp(), scale);
    }
    slow()
}

fn scaled(cycles: u64, scale: u64) -> u64 {
    ((u128::from(cycles) * u128::from(scale)) >> 32) as u64
}

/// The clock of a machine whose time-stamp counter cannot be relied on.
#[cold]
fn slow() -> u64 {
    match *REFERENCE.lock() {
        Some(hpet) => hpet.nanoseconds(),
        None => scaled(cpu::timestamp(), scale()),
    }
}

#[cold]
fn calibrate() -> u64 {
    /// Reference clocks are for one at a time.
    static CALIBRATION: Lock<()> = Lock::new(());
    let guard = CALIBRATION.lock();
    let scale = SCALE.load(Relaxed);
    if scale != 0 {
        return scale;
    }
    let frequency = clock::timestamp_frequency();
    let Some(hertz) = frequency.filter(|hertz| *hertz > 1_000_000) else {
        Line::new()
            .text("skete: no clock: neither the processor, the hypervisor, HPET, PIT nor the local APIC tells how fast the time-stamp counter runs; use QEMU or KVM, or a machine with a PIT")
            .end();
        arch::power::end(status::KERNEL_BUG);
    };
    let scale = ((1_000_000_000u128 << 32) / u128::from(hertz)) as u64;
    if !clock::counter_is_steady() {
        let reference = clock::Hpet::start();
        STEADY.store(reference.is_none(), Relaxed);
        *REFERENCE.lock() = reference;
        Line::log(crate::debug::Level::Warn, |line| {
            line.text("the time-stamp counter may change its speed: ")
                .text(match reference {
                    Some(_) => "the clock is the HPET, which takes longer to read",
                    None => {
                        "there is no HPET, so that the clock may be wrong; use a machine with one"
                    }
                });
        });
    }
    SCALE.store(scale, Relaxed);
    drop(guard);
    Line::log(crate::debug::Level::Info, |line| {
        line.text("time-stamp counter: ").number(hertz).text(" Hz");
    });
    scale
}

/// Nanoseconds of these in which the processor had nothing to do.
#[must_use]
pub fn idle() -> u64 {
    scaled(crate::sched::idle_cycles(), scale())
}

/// Cycles of the time-stamp counter in a second.
#[must_use]
pub fn frequency() -> u64 {
    ((1_000_000_000u128 << 32) / u128::from(scale())) as u64
}

#[inline]
fn scale() -> u64 {
    match SCALE.load(Relaxed) {
        0 => calibrate(),
        scale => scale,
    }
}

/// Nanoseconds since 1970-01-01 00:00 UTC, not counting leap seconds. A machine without a real-time
/// clock starts at that date, and says so in the log.
#[must_use]
pub fn wall() -> i64 {
    let epoch = match EPOCH.load(Relaxed) {
        i64::MIN => read_epoch(),
        epoch => epoch,
    };
    epoch + monotonic() as i64
}

/// Sets the wall clock, as [`wall`] gives it.
pub fn set_wall(nanoseconds: i64) {
    EPOCH.store(nanoseconds - monotonic() as i64, Relaxed);
}

/// Tells what time it was when the machine started, where the loader knows.
pub fn set_epoch(nanoseconds: i64) {
    EPOCH.store(nanoseconds, Relaxed);
}

#[cold]
fn read_epoch() -> i64 {
    /// The real-time clock is for one at a time.
    static READING: Lock<()> = Lock::new(());
    let _guard = READING.lock();
    let known = EPOCH.load(Relaxed);
    if known != i64::MIN {
        return known;
    }
    let seconds = rtc::unix_time().unwrap_or_else(|| {
        Line::log(crate::debug::Level::Warn, |line| {
            line.text("no real-time clock: the wall clock starts at 1970-01-01");
        });
        0
    });
    let epoch = seconds * 1_000_000_000 - monotonic() as i64;
    EPOCH.store(epoch, Relaxed);
    epoch
}
