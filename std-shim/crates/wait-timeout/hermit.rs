//! Waiting for a child with a time limit, where the system has no call for it.

use std::io;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// How often the child is looked at.
const STEP: Duration = Duration::from_millis(10);

pub fn wait_timeout(child: &mut Child, dur: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        match dur.checked_sub(start.elapsed()) {
            Some(left) if !left.is_zero() => thread::sleep(left.min(STEP)),
            _ => return Ok(None),
        }
    }
}
