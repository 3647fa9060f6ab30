//! The end of the machine: what was sent arrives first.

use smoltcp::socket::tcp::State;
use smoltcp::time::Duration;

use super::link::LOOPBACK;
use super::stack::{self, Entry, Stack};
use crate::debug::{Level, Line};
use crate::{boot, sched, time};

/// How long the other sides may be silent, with something on its way to them, before the machine ends all the
/// same.
const SILENCE: Duration = Duration::from_secs(3);
/// How often is looked, in nanoseconds.
const STEP: u64 = 200_000;

/// Has the machine's end wait for what was sent.
pub fn prepare() {
    static FINISH: boot::AtExit = boot::AtExit::new(finish);
    boot::at_exit(&FINISH);
}

/// Ends all connections with other machines in order.
fn finish() {
    stack::lock().close_all();
    loop {
        let (left, silent) = stack::lock().on_their_way();
        if left == 0 {
            return;
        }
        if silent {
            Line::log(Level::Warn, |line| {
                line.text("network: ").number(left as u64).text(
                    " connections have not taken what was sent to them: nothing was heard of them for 3 s",
                );
            });
            return;
        }
        sched::sleep_until(time::monotonic() + STEP);
    }
}

impl Stack {
    fn close_all(&mut self) {
        let now = self.now;
        let mut closed = alloc::vec::Vec::new();
        for (id, entry) in &mut self.entries {
            if let Entry::Stream(stream) = entry
                && stream.link != LOOPBACK
                && stream.is_connected()
            {
                stream.heard = now;
                stream.end();
                closed.push(id);
            }
        }
        closed.into_iter().for_each(|id| self.touch(id));
    }

    /// How many connections have something on its way, and whether all of those are silent.
    fn on_their_way(&self) -> (usize, bool) {
        let (mut left, mut silent) = (0, true);
        for (_, entry) in &self.entries {
            if let Entry::Stream(stream) = entry
                && stream.link != LOOPBACK
                && (stream.unacknowledged() > 0
                    || matches!(stream.state(), State::FinWait1 | State::LastAck))
            {
                left += 1;
                silent &= self.now - stream.heard > SILENCE;
            }
        }
        (left, silent)
    }
}
