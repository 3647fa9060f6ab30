//! The end of the machine: what was sent arrives first.

use super::lock;
use crate::debug::{Level, Line};
use crate::{boot, sched, time};

/// How long the host may take to end the connections, in nanoseconds, before the machine ends all the same.
const PATIENCE: u64 = 3_000_000_000;
/// How often is looked, in nanoseconds.
const STEP: u64 = 200_000;

/// Has the machine's end wait for what was sent.
pub fn prepare() {
    static FINISH: boot::AtExit = boot::AtExit::new(finish);
    boot::at_exit(&FINISH);
}

/// Ends all connections in order.
fn finish() {
    let start = time::monotonic();
    if let Ok(mut room) = lock() {
        room.close_all(start);
    }
    loop {
        let left = lock().map_or(0, |mut room| room.left());
        if left == 0 {
            return;
        }
        if time::monotonic() - start > PATIENCE {
            Line::log(Level::Warn, |line| {
                line.text("vsock: ")
                    .number(left as u64)
                    .text(" connections were not ended by the host for 3 s");
            });
            return;
        }
        sched::sleep_until(time::monotonic() + STEP);
    }
}
