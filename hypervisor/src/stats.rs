//! Counts of what happens in a run, and when.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What takes a processor out of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A hypercall.
    Call,
    /// A port that is no hypercall's.
    Port,
    /// A device's registers.
    Device,
    /// A signal to the monitor's thread.
    Signal,
    /// The debugger.
    Debug,
    /// Anything else.
    Other,
}

const NAMES: [&str; 6] = ["hypercalls", "ports", "devices", "signals", "debugger", "others"];

/// What a run comes to but once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The guest is about to run.
    Entry,
    /// The program's `main` begins.
    Main,
    /// The first hypercall.
    Call,
}

/// The counts of a run.
pub struct Stats {
    start: Instant,
    exits: [AtomicU64; NAMES.len()],
    moments: [OnceLock<Duration>; 3],
}

impl Default for Stats {
    fn default() -> Stats {
        Stats { start: Instant::now(), exits: Default::default(), moments: Default::default() }
    }
}

impl Stats {
    /// Keeps when it came to this for the first time.
    pub fn reached(&self, moment: Moment) {
        self.moments[moment as usize].get_or_init(|| self.start.elapsed());
    }

    /// A processor has left the guest.
    pub fn count(&self, kind: Kind) {
        self.exits[kind as usize].fetch_add(1, Relaxed);
        if kind == Kind::Call {
            self.reached(Moment::Call);
        }
    }

    /// Everything, with `touched` bytes of the guest's memory.
    pub fn report(&self, touched: u64) -> String {
        let mut text = String::new();
        let counts = self.exits.each_ref().map(|count| count.load(Relaxed));
        let _ = write!(text, "exits: {}", counts.iter().sum::<u64>());
        for (name, count) in NAMES.iter().zip(counts).filter(|(_, count)| *count > 0) {
            let _ = write!(text, ", {name} {count}");
        }
        let [entry, main, call] = self.moments.each_ref().map(|moment| match moment.get() {
            Some(time) => format!("{time:.1?}"),
            None => "(not seen)".to_owned(),
        });
        let end = self.start.elapsed();
        let _ = write!(
            text,
            "\nfirst instruction after {entry}, main after {main}, first hypercall after {call}, end after {end:.1?}"
        );
        let own = own_memory().map_or_else(
            || "unknown".to_owned(),
            |own| format!("{} KiB", own.saturating_sub(touched) >> 10),
        );
        let _ = write!(text, "\nmemory: guest {} KiB touched, monitor {own}", touched >> 10);
        text
    }
}

/// The most bytes of memory that this process has had.
fn own_memory() -> Option<u64> {
    // SAFETY: a structure of numbers, which the call fills.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let asked = libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        (asked == 0).then_some((usage.ru_maxrss as u64) << 10)
    }
}
