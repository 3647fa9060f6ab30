//! Which task runs next: the one that waits longest among those of the highest priority.

use super::list::{Linked, List};

/// Priorities are 0 to 31; the highest number goes first.
pub const PRIORITIES: usize = 32;

/// The tasks that are ready to run on a processor.
#[derive(Debug)]
pub struct RunQueue<T: 'static> {
    lists: [List<T>; PRIORITIES],
    /// Bit n is set when the list of priority n has a task.
    occupied: u32,
}

impl<T: Linked> Default for RunQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked> RunQueue<T> {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> RunQueue<T> {
        RunQueue { lists: [const { List::EMPTY }; PRIORITIES], occupied: 0 }
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

    /// Bit n is set when a task of priority n is ready.
    #[inline]
    #[must_use]
    pub const fn occupied(&self) -> u32 {
        self.occupied
    }

    /// Puts a task behind all others of its priority.
    #[inline]
    pub fn push(&mut self, task: &'static T, priority: u8) {
        self.lists[priority as usize].push(task);
        self.occupied |= 1 << priority;
    }

    /// Takes the next task.
    #[inline]
    pub fn pop(&mut self) -> Option<&'static T> {
        let priority = self.highest()?;
        let list = &mut self.lists[priority as usize];
        let task = list.pop();
        if list.is_empty() {
            self.occupied &= !(1 << priority);
        }
        task
    }

    /// Takes the next task of those for which `matches` holds.
    pub fn take(&mut self, mut matches: impl FnMut(&'static T) -> bool) -> Option<&'static T> {
        let mut left = self.occupied;
        while let Some(priority) = left.checked_ilog2() {
            let list = &mut self.lists[priority as usize];
            if let Some(task) = list.take(&mut matches) {
                if list.is_empty() {
                    self.occupied &= !(1 << priority);
                }
                return Some(task);
            }
            left &= !(1 << priority);
        }
        None
    }

    /// Takes a task out that was put in with this priority.
    pub fn remove(&mut self, task: &'static T, priority: u8) {
        let list = &mut self.lists[priority as usize];
        list.remove(task);
        if list.is_empty() {
            self.occupied &= !(1 << priority);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::tests::Item;
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// Against the plainest model: one queue for each priority, searched from above.
        #[test]
        fn behaves_like_queues(actions in prop::collection::vec((0u8..5, 0u8..PRIORITIES as u8, any::<prop::sample::Index>()), 1..300)) {
            let mut queue = RunQueue::<Item>::new();
            let mut model: Vec<VecDeque<&'static Item>> = vec![VecDeque::new(); PRIORITIES];
            for (task, (action, priority, which)) in actions.into_iter().enumerate() {
                match action {
                    0 => {
                        let expected = model.iter_mut().rev().find_map(VecDeque::pop_front);
                        prop_assert_eq!(queue.pop().map(|task| task.number), expected.map(|task| task.number));
                    }
                    1 if !model[priority as usize].is_empty() => {
                        let list = &mut model[priority as usize];
                        let at = which.index(list.len());
                        queue.remove(list.remove(at).unwrap(), priority);
                    }
                    2 => {
                        let even = |task: &Item| task.number.is_multiple_of(2);
                        let expected = model.iter_mut().rev().find_map(|list| {
                            let at = list.iter().position(|task| even(task))?;
                            list.remove(at)
                        });
                        prop_assert_eq!(queue.take(even).map(|task| task.number), expected.map(|task| task.number));
                    }
                    _ => {
                        let task = Item::leak(task);
                        model[priority as usize].push_back(task);
                        queue.push(task, priority);
                    }
                }
                let highest = (0..PRIORITIES as u8).rev().find(|priority| !model[*priority as usize].is_empty());
                prop_assert_eq!(queue.highest(), highest);
                for (priority, list) in model.iter().enumerate() {
                    prop_assert_eq!(queue.occupied() >> priority & 1 == 1, !list.is_empty());
                }
            }
        }
    }
}
