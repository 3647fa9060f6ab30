//! Locks on files, as flock(2) has them: one for each file, held by open files.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use crate::sched::futex;

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Beside others that are shared too.
    Shared,
    /// Alone.
    Exclusive,
}

const EXCLUSIVE: u32 = u32::MAX;

/// Who holds a file's lock: nobody (0), so many that share it, or one alone.
#[derive(Debug, Default)]
pub(super) struct Holders(AtomicU32);

impl Holders {
    pub(super) const fn new() -> Holders {
        Holders(AtomicU32::new(0))
    }

    fn with(holders: u32, lock: Lock) -> Option<u32> {
        match lock {
            Lock::Exclusive => (holders == 0).then_some(EXCLUSIVE),
            Lock::Shared => (holders < EXCLUSIVE - 1).then(|| holders + 1),
        }
    }

    /// Takes the lock, if nobody is in the way.
    pub(super) fn attempt(&self, lock: Lock) -> bool {
        let update = |holders| Self::with(holders, lock);
        self.0.fetch_update(SeqCst, SeqCst, update).is_ok()
    }

    /// Sleeps until [`Holders::attempt`] is worth another try.
    pub(super) fn wait(&self, lock: Lock) {
        let holders = self.0.load(SeqCst);
        if Self::with(holders, lock).is_none() {
            // Whatever ends the wait, the caller tries again.
            let _ = futex::wait(&self.0, holders, None);
        }
    }

    /// Gives the lock back.
    pub(super) fn release(&self, lock: Lock) {
        match lock {
            Lock::Exclusive => self.0.store(0, SeqCst),
            Lock::Shared => _ = self.0.fetch_sub(1, SeqCst),
        }
        futex::wake(&self.0, usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_many_together() {
        let holders = Holders::new();
        assert!(holders.attempt(Lock::Shared) && holders.attempt(Lock::Shared));
        assert!(!holders.attempt(Lock::Exclusive));
        holders.release(Lock::Shared);
        assert!(!holders.attempt(Lock::Exclusive));
        holders.release(Lock::Shared);
        assert!(holders.attempt(Lock::Exclusive));
        assert!(!holders.attempt(Lock::Exclusive) && !holders.attempt(Lock::Shared));
        holders.release(Lock::Exclusive);
        assert!(holders.attempt(Lock::Shared));
    }
}
