//! Which task runs next: the one that waits longest among those of the highest priority.

use super::links::{Links, List};

/// Priorities are 0 to 31; the highest number goes first.
pub const PRIORITIES: usize = 32;

/// The tasks that are ready to run.
#[derive(Debug)]
pub struct RunQueue {
    lists: [List; PRIORITIES],
    /// Bit n is set when the list of priority n has a task.
    occupied: u32,
}

impl Default for RunQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl RunQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> RunQueue {
        RunQueue {
            lists: [List::EMPTY; PRIORITIES],
            occupied: 0,
        }
    }

    /// The priority of the task that would be next.
    #[inline]
    #[must_use]
    pub const fn highest(&self) -> Option<u8> {
        match self.occupied.checked_ilog2() {
            Some(priority) => Some(priority as u8),
            None => None,
        }
    }

    /// True when no task is ready.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Puts a task behind all others of its priority.
    pub fn push(&mut self, links: &mut Links, task: u32, priority: u8) {
        self.lists[priority as usize].push(links, task);
        self.occupied |= 1 << priority;
    }

    /// Takes the next task.
    pub fn pop(&mut self, links: &mut Links) -> Option<u32> {
        let priority = self.highest()?;
        let list = &mut self.lists[priority as usize];
        let task = list.pop(links);
        if list.is_empty() {
            self.occupied &= !(1 << priority);
        }
        task
    }

    /// Takes a task out that was put in with this priority.
    pub fn remove(&mut self, links: &mut Links, task: u32, priority: u8) {
        let list = &mut self.lists[priority as usize];
        list.remove(links, task);
        if list.is_empty() {
            self.occupied &= !(1 << priority);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// Against the plainest model: one queue for each priority, searched from above.
        #[test]
        fn behaves_like_queues(actions in prop::collection::vec((0u8..4, 0u8..PRIORITIES as u8, any::<prop::sample::Index>()), 1..300)) {
            let mut links = Links::new();
            prop_assert!(links.grow(300));
            let mut queue = RunQueue::new();
            let mut model: Vec<VecDeque<u32>> = vec![VecDeque::new(); PRIORITIES];
            for (task, (action, priority, which)) in actions.into_iter().enumerate() {
                match action {
                    0 => {
                        let expected = model.iter_mut().rev().find_map(VecDeque::pop_front);
                        prop_assert_eq!(queue.pop(&mut links), expected);
                    }
                    1 if !model[priority as usize].is_empty() => {
                        let list = &mut model[priority as usize];
                        let at = which.index(list.len());
                        let task = list.remove(at).unwrap();
                        queue.remove(&mut links, task, priority);
                    }
                    _ => {
                        model[priority as usize].push_back(task as u32);
                        queue.push(&mut links, task as u32, priority);
                    }
                }
                let highest = (0..PRIORITIES as u8).rev().find(|priority| !model[*priority as usize].is_empty());
                prop_assert_eq!(queue.highest(), highest);
                prop_assert_eq!(queue.is_empty(), highest.is_none());
            }
        }
    }
}
