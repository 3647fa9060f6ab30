//! A clock that several processors read, each a little differently, made one that never goes back.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Nanoseconds: a step back that is longer is no disagreement between processors, but a clock that was set.
/// Waiting until it has caught up would stop all timers meanwhile.
const LEAP: u64 = 1_000_000_000;

/// The last time that anybody was told.
#[derive(Debug, Default)]
pub struct Forward {
    last: AtomicU64,
    /// What is added to the clock: all that it has leapt back.
    lead: AtomicU64,
}

impl Forward {
    /// Nobody was told anything.
    #[must_use]
    pub const fn new() -> Forward {
        Forward { last: AtomicU64::new(0), lead: AtomicU64::new(0) }
    }

    /// What to tell when the clock says so: never less than before.
    #[inline]
    pub fn pass(&self, time: u64) -> u64 {
        let lead = self.lead.load(Relaxed);
        let time = time.wrapping_add(lead);
        let last = self.last.fetch_max(time, Relaxed);
        if last.saturating_sub(time) > LEAP {
            // Goes on from there. Of several who find that, one changes it.
            let _ =
                self.lead.compare_exchange(lead, lead.wrapping_add(last - time), Relaxed, Relaxed);
        }
        time.max(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_steps_back_are_waited_out() {
        let forward = Forward::new();
        assert_eq!(forward.pass(1_000), 1_000);
        assert_eq!(forward.pass(900), 1_000);
        assert_eq!(forward.pass(1_000), 1_000);
        assert_eq!(forward.pass(1_001), 1_001);
    }

    #[test]
    fn a_leap_forward_is_followed() {
        let forward = Forward::new();
        forward.pass(1_000);
        assert_eq!(forward.pass(3_600_000_001_000), 3_600_000_001_000);
    }

    #[test]
    fn the_clock_goes_on_after_a_leap_back() {
        const HOUR: u64 = 3_600_000_000_000;
        let forward = Forward::new();
        assert_eq!(forward.pass(HOUR), HOUR);
        assert_eq!(forward.pass(5), HOUR);
        // Not an hour later, but at once.
        assert_eq!(forward.pass(1_005), HOUR + 1_000);
        assert_eq!(forward.pass(1_000_005), HOUR + 1_000_000);
        // Once more.
        assert_eq!(forward.pass(5), HOUR + 1_000_000);
        assert!(forward.pass(2_000_000_005) > HOUR + 1_000_000_000);
    }

    #[test]
    fn nobody_sees_it_go_back() {
        let (forward, clock) = (Forward::new(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for skew in [0, 50, 999] {
                let (forward, clock) = (&forward, &clock);
                scope.spawn(move || {
                    let mut last = 0;
                    for _ in 0..50_000 {
                        let now = forward.pass(clock.fetch_add(3, Relaxed).saturating_sub(skew));
                        assert!(now >= last, "{now} after {last}");
                        last = now;
                    }
                });
            }
        });
    }
}
