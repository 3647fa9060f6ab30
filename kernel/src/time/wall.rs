//! The wall clock: what is added to the monotonic one.
//!
//! Where the hypervisor tells of the host's wall clock ([`pvclock`]), it is asked again when the machine was
//! stopped, saved, moved or suspended, and otherwise once a second at most, while the program asks. What the
//! program sets is kept as its difference to the host's.

use core::sync::atomic::{
    AtomicI64, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use super::{moment, monotonic};
use crate::arch::{pvclock, rtc};
use crate::debug::{Level, Line};
use crate::sync::Lock;

/// How long the host's answer is good for, in nanoseconds.
const ANSWER: u64 = 1_000_000_000;
/// A step back that is shorter is made by running slower.
const STEP: i64 = 500_000_000;
/// No wall clock is that far from the epoch.
const UNKNOWN: i64 = i64::MIN;

/// What the loader has told.
static TOLD: AtomicI64 = AtomicI64::new(UNKNOWN);
/// What is added to the monotonic clock until [`NEXT`].
static OFFSET: AtomicI64 = AtomicI64::new(0);
/// When the wall clock is to be looked after again, on the monotonic clock.
static NEXT: AtomicU64 = AtomicU64::new(0);
static CLOCK: Lock<Clock> = Lock::new(Clock::new());

/// Nanoseconds since 1970-01-01 00:00 UTC, not counting leap seconds. A machine without a real-time
/// clock starts at that date, and says so in the log.
#[must_use]
pub fn wall() -> i64 {
    let offset = OFFSET.load(Acquire);
    let now = monotonic();
    if now < NEXT.load(Acquire) && !pvclock::has_news() && offset == OFFSET.load(Relaxed) {
        return offset + now as i64;
    }
    look()
}

/// Sets the wall clock, as [`wall`] gives it. It keeps its distance from the host's.
pub fn set_wall(nanoseconds: i64) {
    let mut clock = CLOCK.lock();
    if !clock.follow_host() && clock.offset == UNKNOWN {
        clock.offset = 0;
    }
    let now = monotonic();
    clock.set(now, nanoseconds);
    clock.publish(now);
}

/// Tells what time it was when the machine started, where the loader knows.
pub fn set_epoch(nanoseconds: i64) {
    TOLD.store(nanoseconds, Relaxed);
}

#[cold]
fn look() -> i64 {
    let mut clock = CLOCK.lock();
    let due = monotonic() >= clock.due || pvclock::has_news();
    if due && !clock.follow_host() && clock.offset == UNKNOWN {
        clock.offset = without_host();
    }
    let now = monotonic();
    clock.publish(now);
    clock.at(now)
}

/// What is added to the monotonic clock when no host tells of its wall clock.
fn without_host() -> i64 {
    match TOLD.load(Relaxed) {
        UNKNOWN => {
            let seconds = rtc::unix_time().unwrap_or_else(|| {
                Line::log(Level::Warn, |line| {
                    line.text("no real-time clock: the wall clock starts at 1970-01-01");
                });
                0
            });
            seconds * 1_000_000_000 - monotonic() as i64
        }
        told => told,
    }
}

/// A wall clock, as what is added to a monotonic one.
#[derive(Debug)]
struct Clock {
    /// With the program's own part; [`UNKNOWN`] at first.
    offset: i64,
    /// How far the program has set it from the host's.
    own: i64,
    /// It is ahead of what it should show, and waits for that.
    slow: Option<Slow>,
    /// When the host's is asked for again, on the monotonic clock.
    due: u64,
}

/// A clock that runs at half its speed.
#[derive(Clone, Copy, Debug)]
struct Slow {
    /// Since then, on the monotonic clock, and until then.
    from: u64,
    until: u64,
    /// What it showed at the start.
    shown: i64,
}

impl Clock {
    const fn new() -> Clock {
        Clock { offset: UNKNOWN, own: 0, slow: None, due: 0 }
    }

    /// What it shows.
    fn at(&self, now: u64) -> i64 {
        match self.slow {
            Some(slow) if now < slow.until => {
                slow.shown + (now.saturating_sub(slow.from) / 2) as i64
            }
            _ => self.offset + now as i64,
        }
    }

    /// Corrects it to another offset of the host's: at once, but for short ways back.
    fn correct(&mut self, now: u64, host: i64) {
        let offset = host + self.own;
        if self.offset != UNKNOWN {
            let shown = self.at(now);
            let ahead = shown - (offset + now as i64);
            self.slow = (1..STEP).contains(&ahead).then(|| Slow {
                from: now,
                until: now + 2 * ahead as u64,
                shown,
            });
        }
        self.offset = offset;
    }

    /// Lets it show something else from now on.
    fn set(&mut self, now: u64, shown: i64) {
        let change = shown - (self.offset + now as i64);
        self.offset += change;
        self.own += change;
        self.slow = None;
    }

    /// Asks the host, if there is one.
    fn follow_host(&mut self) -> bool {
        let Some(host) = pvclock::host() else {
            self.due = u64::MAX;
            return false;
        };
        let now = moment(&host.reading);
        if host.stopped {
            Line::log(Level::Info, |line| {
                line.text("the machine has stood still: the wall clock is the host's again");
            });
        }
        self.due = now.saturating_add(ANSWER);
        self.correct(now, host.wall - now as i64);
        true
    }

    /// Lets all see it, as long as it is good for.
    fn publish(&self, now: u64) {
        // Nobody takes the new offset for the old time.
        NEXT.store(0, Relaxed);
        OFFSET.store(self.offset, Release);
        let next = match self.slow {
            Some(slow) if now < slow.until => 0,
            _ => self.due,
        };
        NEXT.store(next, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn clock(offset: i64) -> Clock {
        let mut clock = Clock::new();
        clock.correct(0, offset);
        clock
    }

    #[test]
    fn the_first_answer_is_taken_as_it_is() {
        assert_eq!(clock(100 * SECOND).at(5), 100 * SECOND + 5);
    }

    #[test]
    fn a_host_that_was_set_is_followed_at_once() {
        for hour in [3_600 * SECOND, -3_600 * SECOND] {
            let mut clock = clock(100 * SECOND);
            clock.correct(10, 100 * SECOND + hour);
            assert_eq!(clock.at(10), 100 * SECOND + hour + 10);
        }
    }

    #[test]
    fn small_steps_back_become_a_slower_clock() {
        let mut clock = clock(SECOND);
        clock.correct(1_000, SECOND - 400);
        assert_eq!(clock.at(1_000), SECOND + 1_000);
        assert_eq!(clock.at(1_400), SECOND + 1_200);
        assert_eq!(clock.at(1_799), SECOND + 1_399);
        // It has caught up.
        assert_eq!(clock.at(1_800), SECOND + 1_400);
        assert_eq!(clock.at(2_800), SECOND + 2_400);
    }

    #[test]
    fn what_the_program_sets_keeps_its_distance() {
        let mut clock = clock(100 * SECOND);
        clock.set(7, 4_000_000_000 * SECOND);
        assert_eq!(clock.at(7), 4_000_000_000 * SECOND);
        // The same answer of the host's changes nothing, and an hour is an hour.
        clock.correct(8, 100 * SECOND);
        assert_eq!(clock.at(8), 4_000_000_000 * SECOND + 1);
        clock.correct(9, 3_700 * SECOND);
        assert_eq!(clock.at(9), 4_000_003_600 * SECOND + 2);
    }

    #[test]
    fn setting_ends_a_slower_clock() {
        let mut clock = clock(SECOND);
        clock.correct(0, SECOND - 1_000);
        clock.set(10, 5 * SECOND);
        assert_eq!(clock.at(10), 5 * SECOND);
        assert_eq!(clock.at(20), 5 * SECOND + 10);
    }

    #[test]
    fn this_hosts_clock_agrees() {
        let real = || {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.unwrap().as_nanos() as i64
        };
        assert!(wall().abs_diff(real()) < 2 * SECOND as u64);
    }

    proptest! {
        /// Whatever small corrections there are: it never goes back, and ends at the host's.
        #[test]
        fn small_corrections_never_turn_it_back(steps in prop::collection::vec((0u64..2_000_000_000, -100_000_000i64..100_000_000), 1..50)) {
            let mut clock = clock(SECOND);
            let (mut now, mut offset, mut last) = (0, SECOND, SECOND);
            for (passed, change) in steps {
                now += passed;
                prop_assert!(clock.at(now) >= last, "before");
                let before = clock.at(now);
                // At most as far ahead as is made up for slowly.
                if before - (offset + change + now as i64) < STEP {
                    offset += change;
                    clock.correct(now, offset);
                    prop_assert!(clock.at(now) >= before, "with the correction");
                }
                last = clock.at(now);
            }
            now += 3_000_000_000;
            prop_assert_eq!(clock.at(now), offset + now as i64);
        }
    }
}
