//! Deadlines of tasks: a pairing heap (Fredman, Sedgewick, Sleator and Tarjan, "The Pairing Heap: A New
//! Form of Self-Adjusting Heap", 1986). Its links are in the tasks, so that a deadline needs no memory.

use core::cell::Cell;

/// Something that can have a deadline.
pub trait Timed: Sized + 'static {
    /// Its deadline and place in the heap. Only the heap's owner changes it.
    fn timer(&self) -> &Entry<Self>;
}

/// A deadline, and where it stands in the heap.
#[derive(Debug)]
pub struct Entry<T: 'static> {
    deadline: Cell<u64>,
    /// It stands in a heap.
    set: Cell<bool>,
    /// The first of those that are not earlier.
    child: Cell<Option<&'static T>>,
    /// The next one with the same parent.
    next: Cell<Option<&'static T>>,
    /// The one before with the same parent, or the parent of the first.
    previous: Cell<Option<&'static T>>,
}

impl<T> Default for Entry<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Entry<T> {
    /// No deadline.
    #[must_use]
    pub const fn new() -> Entry<T> {
        Entry {
            deadline: Cell::new(0),
            set: Cell::new(false),
            child: Cell::new(None),
            next: Cell::new(None),
            previous: Cell::new(None),
        }
    }
}

/// Tasks that are to be woken at a time. A task has at most one deadline, in nanoseconds of the
/// monotonic clock.
#[derive(Debug)]
pub struct Timers<T: 'static> {
    root: Option<&'static T>,
}

impl<T: Timed> Default for Timers<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Timed> Timers<T> {
    /// No deadlines.
    #[must_use]
    pub const fn new() -> Timers<T> {
        Timers { root: None }
    }

    /// The earliest deadline.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.root.map(|task| task.timer().deadline.get())
    }

    /// Gives a task, which has none, a deadline.
    pub fn insert(&mut self, deadline: u64, task: &'static T) {
        let entry = task.timer();
        entry.deadline.set(deadline);
        entry.set.set(true);
        entry.child.set(None);
        entry.next.set(None);
        entry.previous.set(None);
        self.root = meld(self.root, Some(task));
    }

    /// Takes a task's deadline away, if it has one here.
    pub fn remove(&mut self, task: &'static T) {
        let entry = task.timer();
        if !entry.set.replace(false) {
            return;
        }
        let below = merge_pairs(entry.child.take());
        let Some(previous) = entry.previous.take() else {
            self.root = below;
            return;
        };
        let next = entry.next.take();
        let above = previous.timer();
        if above.child.get().is_some_and(|child| core::ptr::eq(child, task)) {
            above.child.set(next);
        } else {
            above.next.set(next);
        }
        if let Some(next) = next {
            next.timer().previous.set(Some(previous));
        }
        self.root = meld(self.root, below);
    }

    /// Takes a task whose deadline is not after `now`.
    pub fn expire(&mut self, now: u64) -> Option<&'static T> {
        let first = self.root?;
        (first.timer().deadline.get() <= now).then(|| {
            self.remove(first);
            first
        })
    }
}

/// One heap of two, whose roots have neither parent nor neighbours.
fn meld<T: Timed>(one: Option<&'static T>, other: Option<&'static T>) -> Option<&'static T> {
    let (Some(one), Some(other)) = (one, other) else {
        return one.or(other);
    };
    let (first, second) = if other.timer().deadline.get() < one.timer().deadline.get() {
        (other, one)
    } else {
        (one, other)
    };
    let (parent, child) = (first.timer(), second.timer());
    child.next.set(parent.child.get());
    child.previous.set(Some(first));
    if let Some(sibling) = parent.child.get() {
        sibling.timer().previous.set(Some(second));
    }
    parent.child.set(Some(second));
    Some(first)
}

/// One heap of all that have the same parent: neighbours in pairs, then the pairs from the last to the
/// first.
fn merge_pairs<T: Timed>(first: Option<&'static T>) -> Option<&'static T> {
    let detach = |task: &'static T| {
        task.timer().previous.set(None);
        task.timer().next.take()
    };
    // The pairs, the last one first, linked by `next`.
    let mut pairs: Option<&'static T> = None;
    let mut rest = first;
    while let Some(one) = rest {
        let other = detach(one);
        rest = other.and_then(detach);
        let pair = meld(Some(one), other);
        if let Some(pair) = pair {
            pair.timer().next.set(pairs);
        }
        pairs = pair;
    }
    let mut all = None;
    while let Some(pair) = pairs {
        pairs = detach(pair);
        all = meld(all, Some(pair));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::collections::BTreeMap;

    #[derive(Debug)]
    struct Item(usize, Entry<Item>);

    impl Timed for Item {
        fn timer(&self) -> &Entry<Item> {
            &self.1
        }
    }

    proptest! {
        /// Against a map from tasks to deadlines.
        #[test]
        fn earliest_first(actions in prop::collection::vec((0u8..5, 0u64..50, any::<prop::sample::Index>()), 1..300)) {
            let mut timers = Timers::<Item>::new();
            let mut items: Vec<&'static Item> = Vec::new();
            let mut model: BTreeMap<usize, u64> = BTreeMap::new();
            for (task, (action, time, which)) in actions.into_iter().enumerate() {
                items.push(Box::leak(Box::new(Item(task, Entry::new()))));
                match action {
                    0 => {
                        while let Some(task) = timers.expire(time) {
                            let earliest = *model.values().min().unwrap();
                            let deadline = model.remove(&task.0).unwrap();
                            prop_assert!(deadline <= time && deadline == earliest);
                        }
                        prop_assert!(model.values().all(|deadline| *deadline > time));
                    }
                    1 if !model.is_empty() => {
                        let task = *which.get(&model.keys().copied().collect::<Vec<_>>());
                        model.remove(&task);
                        timers.remove(items[task]);
                        timers.remove(items[task]);
                    }
                    _ => {
                        model.insert(task, time);
                        timers.insert(time, items[task]);
                    }
                }
                prop_assert_eq!(timers.first(), model.values().min().copied());
            }
        }
    }
}
