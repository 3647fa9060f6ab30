//! No process is ever started, so there is none to wait for: `Command::spawn` has given its error before.

use std::future::pending;
use std::io;
use std::process::{Child, ExitStatus};
use std::sync::Mutex;

/// What waits for processes that have ended.
pub(crate) struct Reaper;

/// A process.
pub(crate) struct ChildGuard(Child);

/// A lock on the reaper.
pub(crate) struct Lock;

impl Reaper {
    pub(crate) fn new() -> Self {
        Reaper
    }

    pub(crate) async fn lock(&'static self) -> Lock {
        Lock
    }

    pub(crate) async fn reap(&'static self, _lock: Lock) -> ! {
        pending().await
    }

    pub(crate) fn register(&'static self, child: Child) -> io::Result<ChildGuard> {
        Ok(ChildGuard(child))
    }

    pub(crate) async fn status(
        &'static self,
        child: &Mutex<crate::ChildGuard>,
    ) -> io::Result<ExitStatus> {
        child.lock().unwrap().get_mut().wait()
    }

    pub(crate) fn has_zombies(&'static self) -> bool {
        false
    }
}

impl ChildGuard {
    pub(crate) fn get_mut(&mut self) -> &mut Child {
        &mut self.0
    }

    pub(crate) fn reap(&mut self, _reaper: &'static Reaper) {}
}
