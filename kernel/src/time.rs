//! The monotonic clock and the wall clock. Neither is looked at before a program asks.
//!
//! The monotonic clock is the time-stamp counter where that runs at one speed, else the clock that KVM keeps
//! for its guests, else the HPET.

pub mod forward;
pub mod page;
mod wall;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::arch::{self, clock, cpu, pvclock};
use crate::boot::status;
use crate::debug::{Level, Line};
use crate::sync::Lock;

pub use wall::{set_epoch, set_wall, wall};

/// Nanoseconds for a cycle of the time-stamp counter, times 2^32; 0 before the first question.
static SCALE: AtomicU64 = AtomicU64::new(0);
/// The time-stamp counter is the clock; otherwise it is the hypervisor's, or [`REFERENCE`].
static STEADY: AtomicBool = AtomicBool::new(true);
static REFERENCE: Lock<Option<clock::Hpet>> = Lock::new(None);
/// What processors were told by the hypervisor's clock.
static FORWARD: forward::Forward = forward::Forward::new();

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
    if let Some(reading) = pvclock::read() {
        return by_page(&reading);
    }
    match *REFERENCE.lock() {
        Some(hpet) => hpet.nanoseconds(),
        None => scaled(cpu::timestamp(), scale()),
    }
}

/// The monotonic clock by the hypervisor's. Where processors may disagree, whoever is behind waits.
fn by_page(reading: &page::Reading) -> u64 {
    if reading.flags & page::STABLE != 0 {
        return reading.nanoseconds;
    }
    FORWARD.pass(reading.nanoseconds)
}

/// The monotonic clock at a moment that the hypervisor's clock was read.
fn moment(reading: &page::Reading) -> u64 {
    let scale = scale();
    if STEADY.load(Relaxed) {
        return scaled(reading.counter, scale);
    }
    by_page(reading)
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
        let page = pvclock::read().is_some();
        let reference = if page { None } else { clock::Hpet::start() };
        STEADY.store(!page && reference.is_none(), Relaxed);
        *REFERENCE.lock() = reference;
        let (level, instead) = match (page, reference) {
            (true, _) => (Level::Info, "the clock is KVM's"),
            (_, Some(_)) => (Level::Warn, "the clock is the HPET, which takes longer to read"),
            (_, None) => (
                Level::Warn,
                "there is no HPET, so that the clock may be wrong; use a machine with one",
            ),
        };
        Line::log(level, |line| {
            line.text("the time-stamp counter may change its speed: ").text(instead);
        });
    }
    SCALE.store(scale, Relaxed);
    drop(guard);
    Line::log(Level::Info, |line| {
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
