//! Who may write: many who write whole sectors, or one who changes a part of one.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use crate::sched;
use crate::sync::Mutex;

/// A gate that many pass at a time, until somebody closes it behind them.
#[derive(Debug)]
pub struct Gate {
    /// Held while somebody is alone inside, or waits to be.
    closed: Mutex<()>,
    inside: AtomicU32,
}

impl Gate {
    /// Nobody is inside.
    pub const fn new() -> Gate {
        Gate { closed: Mutex::new(()), inside: AtomicU32::new(0) }
    }

    /// Does some work beside others.
    pub fn pass<T>(&self, work: impl FnOnce() -> T) -> T {
        {
            let _open = self.closed.lock();
            self.inside.fetch_add(1, SeqCst);
        }
        let result = work();
        if self.inside.fetch_sub(1, SeqCst) == 1 {
            sched::futex::wake(&self.inside, usize::MAX);
        }
        result
    }

    /// Does some work when all others have left. Nobody new comes in meanwhile.
    pub fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        let _closed = self.closed.lock();
        loop {
            match self.inside.load(SeqCst) {
                0 => return work(),
                // Changed or woken: there is something to look at.
                inside => _ = sched::futex::wait(&self.inside, inside, None),
            }
        }
    }
}
