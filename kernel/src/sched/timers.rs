//! Deadlines of tasks: a binary heap that knows where each task's entry is.

use alloc::vec::Vec;

use super::links::NONE;

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: u64,
    task: u32,
}

/// Tasks that are to be woken at a time. A task has at most one deadline, in nanoseconds of the
/// monotonic clock.
#[derive(Debug, Default)]
pub struct Timers {
    heap: Vec<Entry>,
    /// Where in the heap a task's entry is, by task number.
    places: Vec<u32>,
}

impl Timers {
    /// No deadlines.
    #[must_use]
    pub const fn new() -> Timers {
        Timers {
            heap: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Makes room for tasks with numbers below `count`, so that `insert` never needs memory; `false`
    /// when memory is short.
    #[must_use]
    pub fn grow(&mut self, count: usize) -> bool {
        let missing = count.saturating_sub(self.places.len());
        let room = count.saturating_sub(self.heap.len());
        if self.places.try_reserve(missing).is_err() || self.heap.try_reserve(room).is_err() {
            return false;
        }
        self.places.resize(self.places.len() + missing, NONE);
        true
    }

    /// The earliest deadline.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Gives a task, which has none, a deadline.
    pub fn insert(&mut self, deadline: u64, task: u32) {
        self.heap.push(Entry { deadline, task });
        self.rise(self.heap.len() - 1);
    }

    /// Takes a task's deadline away, if it has one.
    pub fn remove(&mut self, task: u32) {
        let place = self.places[task as usize];
        if place == NONE {
            return;
        }
        let place = place as usize;
        self.places[task as usize] = NONE;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.sink(place);
            self.rise(place);
        }
    }

    /// Takes a task whose deadline is not after `now`.
    pub fn expire(&mut self, now: u64) -> Option<u32> {
        let first = *self.heap.first()?;
        (first.deadline <= now).then(|| {
            self.remove(first.task);
            first.task
        })
    }

    fn rise(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].deadline <= entry.deadline {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let mut child = 2 * place + 1;
            if child + 1 < self.heap.len()
                && self.heap[child + 1].deadline < self.heap[child].deadline
            {
                child += 1;
            }
            if child >= self.heap.len() || entry.deadline <= self.heap[child].deadline {
                break;
            }
            self.put(place, self.heap[child]);
            place = child;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.places[entry.task as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a map from tasks to deadlines.
        #[test]
        fn earliest_first(actions in prop::collection::vec((0u8..4, 0u64..50, any::<prop::sample::Index>()), 1..300)) {
            let mut timers = Timers::new();
            prop_assert!(timers.grow(300));
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for (task, (action, time, which)) in actions.into_iter().enumerate() {
                match action {
                    0 => {
                        while let Some(task) = timers.expire(time) {
                            let earliest = *model.values().min().unwrap();
                            let deadline = model.remove(&task).unwrap();
                            prop_assert!(deadline <= time && deadline == earliest);
                        }
                        prop_assert!(model.values().all(|deadline| *deadline > time));
                    }
                    1 if !model.is_empty() => {
                        let task = *which.get(&model.keys().copied().collect::<Vec<_>>());
                        model.remove(&task);
                        timers.remove(task);
                        timers.remove(task);
                    }
                    _ => {
                        model.insert(task as u32, time);
                        timers.insert(time, task as u32);
                    }
                }
                prop_assert_eq!(timers.first(), model.values().min().copied());
            }
        }
    }
}
