//! Connections that this machine has ended first: for a while, they answer those who have not heard the last word.
//!
//! TIME-WAIT of RFC 9293 (3.6.1), without the memory of a connection: an address, two numbers.

use alloc::collections::VecDeque;

use smoltcp::time::{Duration, Instant};

use super::address::Flow;
use super::frame::Segment;
use super::stack::{Stack, Which};

/// How long they answer.
const TIME: Duration = Duration::from_secs(30);
/// How many there are at most; then the oldest is forgotten.
const MOST: usize = 4096;

/// What is left of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    /// The sequence number behind all that this machine has sent.
    pub sent: u32,
    /// The sequence number behind all that the other has sent.
    pub received: u32,
}

impl Last {
    /// After the other side's last segment.
    #[must_use]
    pub const fn after(segment: Segment) -> Last {
        Last { sent: segment.acknowledges, received: segment.next }
    }

    /// True for a segment that opens a new connection in place of the old, as its number says (RFC 9293,
    /// 3.10.7.4).
    #[must_use]
    pub const fn is_followed_by(&self, segment: Segment) -> bool {
        segment.opens && (segment.next.wrapping_sub(self.received) as i32) > 0
    }
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub struct Closed(VecDeque<(Instant, Flow)>);

impl Stack {
    /// Remembers what is left of a connection.
    pub fn remember(&mut self, flow: Flow, last: Last) {
        if self.closed.0.len() == MOST
            && let Some((_, oldest)) = self.closed.0.pop_front()
        {
            self.forget_closed(&oldest);
        }
        self.flows.insert(flow, Which::Closed(last));
        self.closed.0.push_back((self.now + TIME, flow));
    }

    /// Forgets those whose time is over. One that came again in the meantime may go with its older time.
    pub fn expire_closed(&mut self) {
        while let Some((_, flow)) = self.closed.0.pop_front_if(|(until, _)| *until <= self.now) {
            self.forget_closed(&flow);
        }
    }

    fn forget_closed(&mut self, flow: &Flow) {
        if matches!(self.flows.get(flow), Some(Which::Closed(_))) {
            self.flows.remove(flow);
        }
    }
}
