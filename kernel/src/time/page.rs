//! The memory that a hypervisor tells the time in (pvclock; Linux, `Documentation/virt/kvm/x86/msr.rst`):
//! what it means, without the registers that ask for it.

use core::sync::atomic::{
    AtomicI8, AtomicU8, AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, fence,
};

/// Times taken by different processors never go back.
pub const STABLE: u8 = 1 << 0;
/// The host has let the processor stand still. Who has seen to it takes the flag away.
pub const STOPPED: u8 = 1 << 1;

/// A processor's own page: how its time-stamp counter turns into the host's time. The hypervisor writes it
/// while the processor is away, and leaves the version odd until it is done.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct ClockPage {
    version: AtomicU32,
    _pad: u32,
    /// The counter, when this was written.
    counter: AtomicU64,
    /// The host's time then, in nanoseconds.
    time: AtomicU64,
    multiplier: AtomicU32,
    shift: AtomicI8,
    flags: AtomicU8,
    _pad_end: [u8; 2],
    /// Not the hypervisor's: the version with which the wall clock was last asked for.
    seen: AtomicU32,
    /// Where the wall clock goes.
    pub wall: WallPage,
}

const _: () = assert!(core::mem::offset_of!(ClockPage, seen) == 32 && size_of::<ClockPage>() == 64);

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The time-stamp counter.
    pub counter: u64,
    /// The host's time, in nanoseconds since the machine began.
    pub nanoseconds: u64,
    /// What the page was like: [`STABLE`] and others.
    pub flags: u8,
    /// Which page it was.
    pub version: u32,
}

impl ClockPage {
    /// The number of this state of the page; 0 when nothing was ever written.
    #[inline]
    pub fn version(&self) -> u32 {
        self.version.load(Acquire)
    }

    /// The page has changed since the wall clock was last asked for.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.version() != self.seen.load(Relaxed)
    }

    /// Notes with which version the wall clock is asked for.
    pub fn note_seen(&self, version: u32) {
        self.seen.store(version, Relaxed);
    }

    /// Takes the flag away that says that the processor stood still; tells whether it was there.
    pub fn take_stopped(&self) -> bool {
        self.flags.fetch_and(!STOPPED, Relaxed) & STOPPED != 0
    }

    /// The time, by what `counter` gives. Only for the page's own processor, with interrupts off.
    #[inline]
    pub fn read(&self, counter: impl Fn() -> u64) -> Reading {
        loop {
            let version = self.version.load(Acquire);
            let reading = self.at(counter(), version);
            fence(Acquire);
            if version & 1 == 0 && version == self.version.load(Relaxed) {
                return reading;
            }
            core::hint::spin_loop();
        }
    }

    #[inline]
    fn at(&self, counter: u64, version: u32) -> Reading {
        let cycles = counter.saturating_sub(self.counter.load(Relaxed));
        let elapsed = scaled(cycles, self.multiplier.load(Relaxed), self.shift.load(Relaxed));
        Reading {
            counter,
            nanoseconds: self.time.load(Relaxed).wrapping_add(elapsed),
            flags: self.flags.load(Relaxed),
            version,
        }
    }

    /// Cycles of the counter in a second, when the page tells.
    pub fn frequency(&self) -> Option<u64> {
        let cycles =
            (1_000_000_000u128 << 32).checked_div(self.multiplier.load(Relaxed).into())? as u64;
        let shift = self.shift.load(Relaxed);
        Some(shifted(cycles, shift.wrapping_neg()))
    }
}

/// To the left, or with a negative number to the right.
#[inline]
const fn shifted(value: u64, shift: i8) -> u64 {
    match shift >= 0 {
        true => value.wrapping_shl(shift as u32),
        false => value.wrapping_shr(shift.unsigned_abs() as u32),
    }
}

/// Nanoseconds that so many cycles take.
#[inline]
const fn scaled(cycles: u64, multiplier: u32, shift: i8) -> u64 {
    ((shifted(cycles, shift) as u128 * multiplier as u128) >> 32) as u64
}

/// Where the hypervisor writes what time it was, on the host's wall clock, when the host's time of
/// [`ClockPage`] was 0. It writes only when it is asked to.
#[derive(Debug, Default)]
#[repr(C)]
pub struct WallPage {
    version: AtomicU32,
    seconds: AtomicU32,
    nanoseconds: AtomicU32,
}

impl WallPage {
    /// Nanoseconds since 1970-01-01 00:00 UTC; `None` when nothing was written.
    pub fn read(&self) -> Option<i64> {
        loop {
            let version = self.version.load(Acquire);
            if version == 0 {
                return None;
            }
            let time = i64::from(self.seconds.load(Relaxed)) * 1_000_000_000
                + i64::from(self.nanoseconds.load(Relaxed));
            fence(Acquire);
            if version & 1 == 0 && version == self.version.load(Relaxed) {
                return Some(time);
            }
            core::hint::spin_loop();
        }
    }
}

/// The host's wall clock at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostTime {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    pub wall: i64,
    /// The moment.
    pub reading: Reading,
    /// The processor had stood still since it was last asked.
    pub stopped: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicBool, Ordering::Release, Ordering::SeqCst};

    fn page(counter: u64, time: u64, multiplier: u32, shift: i8) -> ClockPage {
        ClockPage {
            version: AtomicU32::new(2),
            counter: AtomicU64::new(counter),
            time: AtomicU64::new(time),
            multiplier: AtomicU32::new(multiplier),
            shift: AtomicI8::new(shift),
            ..ClockPage::default()
        }
    }

    #[test]
    fn the_layout_is_the_hypervisors() {
        use core::mem::offset_of;
        let places = [
            offset_of!(ClockPage, version),
            offset_of!(ClockPage, counter),
            offset_of!(ClockPage, time),
            offset_of!(ClockPage, multiplier),
            offset_of!(ClockPage, shift),
            offset_of!(ClockPage, flags),
        ];
        assert_eq!(places, [0, 8, 16, 24, 28, 29]);
        let places = [
            offset_of!(WallPage, version),
            offset_of!(WallPage, seconds),
            offset_of!(WallPage, nanoseconds),
        ];
        assert_eq!(places, [0, 4, 8]);
    }

    #[test]
    fn cycles_are_scaled_to_either_side() {
        // 2 GHz: half a nanosecond a cycle.
        let two = page(1_000, 500, 1 << 31, 0);
        assert_eq!(two.read(|| 1_000).nanoseconds, 500);
        assert_eq!(two.read(|| 3_000).nanoseconds, 1_500);
        // The same with a shift to the left and a smaller factor, or to the right and a larger one.
        assert_eq!(page(0, 0, 1 << 29, 2).read(|| 4_000).nanoseconds, 2_000);
        assert_eq!(page(0, 0, 0xffff_fffe, -1).read(|| 4_000).nanoseconds, 1_999);
        // What KVM gives for 2,593,906 kHz.
        let kvm = page(0, 0, 3_311_582_838, -1);
        let second = kvm.read(|| 2_593_906_000).nanoseconds;
        assert!(second.abs_diff(1_000_000_000) < 10, "{second}");
    }

    #[test]
    fn years_of_cycles_do_not_overflow() {
        // 100 days at 5 GHz: more than 64 bits before the last shift.
        let cycles = 100 * 86_400 * 5_000_000_000;
        let elapsed = page(0, 7, 3_435_973_837, -2).read(|| cycles).nanoseconds;
        assert!(elapsed.abs_diff(100 * 86_400 * 1_000_000_000) < 1_000_000);
    }

    #[test]
    fn a_counter_behind_the_page_is_no_leap() {
        assert_eq!(page(1_000, 500, 1 << 31, 0).read(|| 999).nanoseconds, 500);
    }

    #[test]
    fn the_frequency_is_the_scale_turned_round() {
        assert_eq!(page(0, 0, 1 << 31, 0).frequency(), Some(2_000_000_000));
        assert_eq!(page(0, 0, 1 << 29, 2).frequency(), Some(2_000_000_000));
        let hertz = page(0, 0, 3_311_582_838, -1).frequency().unwrap();
        assert!(hertz.abs_diff(2_593_906_000) < 10, "{hertz}");
        assert_eq!(page(0, 0, 0, 0).frequency(), None);
    }

    #[test]
    fn an_odd_version_is_waited_out() {
        let page = page(0, 0, 1 << 31, 0);
        page.version.store(3, Relaxed);
        // The hypervisor gets done between one look and the next.
        let reading = page.read(|| {
            if page.version.load(Relaxed) == 3 {
                page.time.store(10, Relaxed);
                page.version.store(4, Relaxed);
            }
            0
        });
        assert_eq!((reading.nanoseconds, reading.version), (10, 4));
    }

    #[test]
    fn a_page_that_changes_meanwhile_is_read_again() {
        let page = page(100, 1_000, 1 << 31, 0);
        let once = AtomicBool::new(true);
        let reading = page.read(|| {
            if once.swap(false, Relaxed) {
                // The counter was set back, and the page written anew, after the version was read.
                page.counter.store(0, Relaxed);
                page.time.store(2_000, Relaxed);
                page.version.store(4, Relaxed);
            }
            50
        });
        assert_eq!((reading.nanoseconds, reading.version), (2_025, 4));
    }

    /// A writer of the other side, as KVM does it, and readers that must never see halves.
    #[test]
    fn halves_are_never_seen() {
        let (page, over) = (page(0, 0, 1 << 31, 0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..20_000u64 {
                    let version = page.version.load(Relaxed);
                    page.version.store(version + 1, Relaxed);
                    fence(SeqCst);
                    page.counter.store(round * 2_000, Relaxed);
                    page.time.store(round * 1_000, Relaxed);
                    page.version.store(version + 2, Release);
                }
                over.store(true, Relaxed);
            });
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    // The two belong together: at this counter it is always this time.
                    let reading = page.read(|| 100_000_000);
                    assert_eq!(reading.nanoseconds, 50_000_000);
                }
            });
        });
    }

    #[test]
    fn flags_are_told_and_taken() {
        let page = page(0, 0, 1, 0);
        page.flags.store(STABLE | STOPPED, Relaxed);
        assert_eq!(page.read(|| 0).flags, STABLE | STOPPED);
        assert!(page.take_stopped() && !page.take_stopped());
        assert_eq!(page.read(|| 0).flags, STABLE);
        assert!(page.has_news());
        page.note_seen(page.version());
        assert!(!page.has_news());
        page.version.store(4, Relaxed);
        assert!(page.has_news());
    }

    #[test]
    fn the_wall_clock_is_there_once_written() {
        let wall = WallPage::default();
        assert_eq!(wall.read(), None);
        wall.version.store(2, Relaxed);
        wall.seconds.store(1_700_000_000, Relaxed);
        wall.nanoseconds.store(25, Relaxed);
        assert_eq!(wall.read(), Some(1_700_000_000_000_000_025));
    }

    proptest! {
        /// Against the same in numbers wide enough for anything.
        #[test]
        fn as_wide_arithmetic_has_it(cycles in 0u64..1 << 50, multiplier in 1u32.., shift in -8i8..8) {
            let cycles = cycles >> 8;
            let wide = u128::from(cycles) << 16;
            let wide = if shift >= 0 { wide << shift } else { wide >> -shift };
            // The shift to the right drops bits, each worth less than a nanosecond at these factors.
            let wide = (wide * u128::from(multiplier)) >> 48;
            let ours = u128::from(scaled(cycles, multiplier, shift));
            prop_assert!(ours <= wide && wide - ours <= 1, "{ours} {wide}");
        }
    }
}
