//! Which threads there are, by their numbers.

use alloc::vec::Vec;

use super::ThreadId;
use super::task::Task;
use crate::sync::{Lock, LockGuard};
use crate::{Error, Result};

/// The number of the first thread.
pub const FIRST: ThreadId = 1;

/// All threads.
#[derive(Debug)]
pub struct Registry {
    /// The first thread alone is here, so that a program without others needs no table.
    alone: Option<&'static Task>,
    buckets: Vec<Option<&'static Task>>,
    count: usize,
    last: ThreadId,
}

static REGISTRY: Lock<Registry> =
    Lock::new(Registry { alone: None, buckets: Vec::new(), count: 0, last: FIRST });

/// All threads. One that is found lives for as long as the guard does.
pub fn lock() -> LockGuard<'static, Registry> {
    REGISTRY.lock()
}

impl Registry {
    fn bucket(&self, id: ThreadId) -> usize {
        id as usize & self.buckets.len().wrapping_sub(1)
    }

    /// The thread with this number.
    pub fn find(&self, id: ThreadId) -> Option<&'static Task> {
        let mut task = *self.buckets.get(self.bucket(id)).unwrap_or(&self.alone);
        while let Some(found) = task {
            if found.id == id {
                break;
            }
            task = found.next_by_id.get();
        }
        task
    }

    /// True when there was once a thread with this number, or is.
    pub const fn existed(&self, id: ThreadId) -> bool {
        id != 0 && id <= self.last
    }

    /// Chooses a number that no thread has, and makes room for one more thread.
    pub fn reserve(&mut self) -> Result<ThreadId> {
        if self.count >= self.buckets.len() {
            self.grow()?;
        }
        loop {
            self.last = self.last.wrapping_add(1).max(1);
            if self.find(self.last).is_none() {
                return Ok(self.last);
            }
        }
    }

    fn grow(&mut self) -> Result<()> {
        let count = (2 * self.buckets.len()).max(8);
        let mut buckets = Vec::new();
        buckets.try_reserve_exact(count).map_err(|_| Error::OutOfMemory)?;
        buckets.resize(count, None);
        let old = core::mem::replace(&mut self.buckets, buckets);
        for mut task in old.into_iter().chain([self.alone.take()]) {
            while let Some(moved) = task {
                task = moved.next_by_id.get();
                self.link(moved);
            }
        }
        Ok(())
    }

    fn link(&mut self, task: &'static Task) {
        let bucket = self.bucket(task.id);
        let first = self.buckets.get_mut(bucket).unwrap_or(&mut self.alone);
        task.next_by_id.set(first.replace(task));
    }

    /// Enters a thread, for which there is room.
    pub fn insert(&mut self, task: &'static Task) {
        self.link(task);
        self.count += 1;
    }

    /// Takes a thread out.
    pub fn remove(&mut self, task: &'static Task) {
        let bucket = self.bucket(task.id);
        let first = self.buckets.get_mut(bucket).unwrap_or(&mut self.alone);
        let mut at = *first;
        if at.is_some_and(|first| core::ptr::eq(first, task)) {
            *first = task.next_by_id.get();
        }
        while let Some(before) = at {
            at = before.next_by_id.get();
            if at.is_some_and(|next| core::ptr::eq(next, task)) {
                before.next_by_id.set(task.next_by_id.get());
                break;
            }
        }
        self.count -= 1;
    }

    /// How many threads there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// All threads, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &'static Task> {
        self.buckets
            .iter()
            .flat_map(|first| core::iter::successors(*first, |task| task.next_by_id.get()))
    }
}
