//! What a thread waits on for a socket.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::fd::poll::{self, Events};
use crate::{Error, Result, sched};

/// Counts what has happened to a socket.
#[derive(Debug, Default)]
pub struct Signal {
    events: AtomicU32,
    waiters: AtomicU32,
    /// Who has read last has left nothing, and nothing has happened since: a look without the stack's lock.
    empty: AtomicBool,
    /// What the socket was ready for when it was last looked at, above [`KNOWN`], and the count of events before.
    known: AtomicU64,
}

/// Set in what is known, which is nothing at first.
const KNOWN: u64 = 1 << 32;

impl Signal {
    /// True when there is nothing to read; false says nothing.
    pub fn is_empty(&self) -> bool {
        self.empty.load(SeqCst)
    }

    /// Notes whether there is something to read. The lock of the stack is held.
    pub fn set_empty(&self, empty: bool) {
        self.empty.store(empty, SeqCst);
    }

    /// Wakes who waits. The lock of the stack is not held. `here`: on this processor, whose thread is about to wait.
    pub fn raise(&self, here: bool) {
        self.events.fetch_add(1, SeqCst);
        if self.waiters.load(SeqCst) > 0 {
            if here {
                sched::futex::wake_here(&self.events);
            } else {
                sched::futex::wake(&self.events, usize::MAX);
            }
        }
        poll::changed();
    }

    /// Looks what the socket is ready for, and remembers it.
    #[inline]
    pub fn look(&self, look: impl FnOnce() -> Events) -> Events {
        let before = self.events.load(SeqCst);
        let events = look();
        let bits = u64::from(events.bits()) << 40;
        self.known.store(bits | KNOWN | u64::from(before), SeqCst);
        events
    }

    /// What the socket was ready for when it was last looked at, if nothing has happened since. By then it may be
    /// ready for less, which a call of the program's own brings about, and not for more.
    fn known(&self) -> Option<Events> {
        let known = self.known.load(SeqCst);
        let fresh = known & KNOWN != 0 && known as u32 == self.events.load(SeqCst);
        fresh.then(|| Events::from_bits((known >> 40) as u8))
    }

    /// What is [`Signal::known`], when nothing of it is wanted.
    pub fn idle(&self, wanted: Events) -> Option<Events> {
        let known = self.known()?;
        (known & (wanted | Events::UNASKED)).is_empty().then_some(known)
    }

    /// Calls `attempt` until something comes of it, again after each event.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`] when nothing has come of it and the call does not wait (`deadline` 0), or not
    /// beyond `deadline`, in nanoseconds of the monotonic clock; those of `attempt`.
    #[inline]
    pub fn wait<T>(
        &self,
        deadline: Option<u64>,
        mut attempt: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            let before = self.events.load(SeqCst);
            if let Some(found) = attempt()? {
                return Ok(found);
            }
            if deadline == Some(0) {
                return Err(Error::WouldBlock);
            }
            self.waiters.fetch_add(1, SeqCst);
            let result = sched::wait_for_device(&self.events, before, deadline);
            self.waiters.fetch_sub(1, SeqCst);
            if result == Err(Error::TimedOut) {
                return attempt()?.ok_or(Error::WouldBlock);
            }
        }
    }
}
