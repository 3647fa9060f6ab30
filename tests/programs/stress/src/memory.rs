//! How much memory the machine has, as `/proc/meminfo` tells it.

use std::thread;
use std::time::{Duration, Instant};

/// Bytes that may be kept for later use: objects and stacks that each processor holds ready.
const KEPT: u64 = 4 << 20;

/// Bytes of memory that nobody uses.
pub fn free() -> u64 {
    entry("MemAvailable:")
}

/// Bytes of memory in all.
pub fn total() -> u64 {
    entry("MemTotal:")
}

fn entry(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("/proc/meminfo is there");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|number| number.parse::<u64>().ok()).expect("a number of kB") << 10
}

/// Waits until about as much memory is free as was before: threads that were not joined may still be
/// about to end.
///
/// # Panics
///
/// Panics when it does not come back within some seconds. On the host it is not looked at, since there
/// are others.
pub fn comes_back(before: u64, what: &str) {
    if cfg!(not(target_os = "hermit")) {
        return;
    }
    let start = Instant::now();
    loop {
        let now = free();
        if now + KEPT >= before {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{what}: of {} KiB that were free only {} KiB are",
            before >> 10,
            now >> 10
        );
        thread::sleep(Duration::from_millis(10));
    }
}
