//! Connections that this machine has ended first: for a while, they answer those who have not heard the last word.
//!
//! TIME-WAIT of RFC 9293 (3.6.1), without the memory of a connection: an address, two numbers.

use alloc::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smoltcp::time::{Duration, Instant};

use super::address::Flow;
use super::frame::Segment;

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
        Last {
            sent: segment.acknowledges,
            received: segment.next,
        }
    }

    /// True for a segment that opens a new connection in place of the old, as its number says (RFC 9293,
    /// 3.10.7.4).
    #[must_use]
    pub const fn is_followed_by(&self, sequence: u32) -> bool {
        (sequence.wrapping_sub(self.received) as i32) > 0
    }
}

/// All of them.
#[derive(Debug)]
pub struct Closed {
    flows: HashMap<Flow, Last, FixedState>,
    order: VecDeque<(Instant, Flow)>,
}

impl Closed {
    /// None.
    #[must_use]
    pub fn new(seed: u64) -> Closed {
        Closed {
            flows: HashMap::with_hasher(FixedState::with_seed(seed)),
            order: VecDeque::new(),
        }
    }

    /// Remembers one.
    pub fn add(&mut self, now: Instant, flow: Flow, last: Last) {
        if self.order.len() == MOST
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.flows.remove(&oldest);
        }
        if self.flows.insert(flow, last).is_none() {
            self.order.push_back((now + TIME, flow));
        }
    }

    /// What is left of a connection.
    #[must_use]
    pub fn get(&self, flow: &Flow) -> Option<Last> {
        // Most machines have none.
        if self.flows.is_empty() {
            return None;
        }
        self.flows.get(flow).copied()
    }

    /// Forgets one.
    pub fn remove(&mut self, flow: &Flow) {
        if self.flows.remove(flow).is_some() {
            self.order.retain(|(_, other)| other != flow);
        }
    }

    /// Forgets those whose time is over.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, flow)) = self.order.front()
            && *until <= now
        {
            self.flows.remove(flow);
            self.order.pop_front();
        }
    }
}
