//! Who waits for what: a hash table from keys to tasks, first come, first served.

use alloc::vec::Vec;

use super::links::{Links, List};

const BUCKETS: usize = 64;

/// Tasks that wait, each under one key.
#[derive(Debug)]
pub struct WaitTable {
    buckets: [List; BUCKETS],
    /// The key that a task waits under, by task number.
    keys: Vec<usize>,
}

impl Default for WaitTable {
    fn default() -> Self {
        Self::new()
    }
}

/// The high bits of a multiplication by 2^64 / golden ratio (Knuth, TAOCP 6.4): neighbours and
/// multiples of a page spread alike.
const fn bucket(key: usize) -> usize {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - BUCKETS.ilog2())
}

impl WaitTable {
    /// A table in which nobody waits.
    #[must_use]
    pub const fn new() -> WaitTable {
        WaitTable {
            buckets: [List::EMPTY; BUCKETS],
            keys: Vec::new(),
        }
    }

    /// Makes room for tasks with numbers below `count`; `false` when memory is short.
    #[must_use]
    pub fn grow(&mut self, count: usize) -> bool {
        let missing = count.saturating_sub(self.keys.len());
        if self.keys.try_reserve(missing).is_err() {
            return false;
        }
        self.keys.resize(self.keys.len() + missing, 0);
        true
    }

    /// Lets a task wait under `key`, behind those that already do.
    pub fn push(&mut self, links: &mut Links, key: usize, task: u32) {
        self.keys[task as usize] = key;
        self.buckets[bucket(key)].push(links, task);
    }

    /// Takes the task that has waited longest under `key`.
    pub fn pop(&mut self, links: &mut Links, key: usize) -> Option<u32> {
        let list = &mut self.buckets[bucket(key)];
        let task = list.first_matching(links, |task| self.keys[task as usize] == key)?;
        list.remove(links, task);
        Some(task)
    }

    /// Takes out a task that waits.
    pub fn remove(&mut self, links: &mut Links, task: u32) {
        self.buckets[bucket(self.keys[task as usize])].remove(links, task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain list of (key, task).
        #[test]
        fn first_come_first_served(actions in prop::collection::vec((0u8..4, 0usize..6, any::<prop::sample::Index>()), 1..300)) {
            let mut links = Links::new();
            let mut table = WaitTable::new();
            prop_assert!(links.grow(300) && table.grow(300));
            let mut model: Vec<(usize, u32)> = Vec::new();
            for (task, (action, key, which)) in actions.into_iter().enumerate() {
                // Keys that collide in a bucket as well as keys that do not.
                let key = if key < 3 { key } else { key << 40 };
                match action {
                    0 => {
                        let at = model.iter().position(|entry| entry.0 == key);
                        let expected = at.map(|at| model.remove(at).1);
                        prop_assert_eq!(table.pop(&mut links, key), expected);
                    }
                    1 if !model.is_empty() => {
                        let (_, task) = model.remove(which.index(model.len()));
                        table.remove(&mut links, task);
                    }
                    _ => {
                        model.push((key, task as u32));
                        table.push(&mut links, key, task as u32);
                    }
                }
            }
        }
    }
}
