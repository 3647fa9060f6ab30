//! Lists of tasks. The links are in the tasks themselves, so that a list needs no memory: a task stands
//! in one list at a time.

use core::cell::Cell;

/// Something that can stand in a [`List`].
pub trait Linked: Sized + 'static {
    /// Its place in the list. Only the list's owner changes it.
    fn links(&self) -> &Links<Self>;
}

/// The neighbours in a list.
#[derive(Debug)]
pub struct Links<T: 'static> {
    next: Cell<Option<&'static T>>,
    previous: Cell<Option<&'static T>>,
}

impl<T> Default for Links<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Links<T> {
    /// In no list.
    #[must_use]
    pub const fn new() -> Links<T> {
        Links { next: Cell::new(None), previous: Cell::new(None) }
    }
}

/// A list's two ends.
#[derive(Debug)]
pub struct List<T: 'static> {
    first: Option<&'static T>,
    last: Option<&'static T>,
}

impl<T: Linked> Default for List<T> {
    fn default() -> Self {
        List::EMPTY
    }
}

impl<T: Linked> List<T> {
    /// A list in which nothing stands.
    pub const EMPTY: List<T> = List { first: None, last: None };

    /// True when nothing stands in it.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Puts an item, which stands in no list, at the end.
    #[inline]
    pub fn push(&mut self, item: &'static T) {
        item.links().next.set(None);
        item.links().previous.set(self.last);
        match self.last {
            None => self.first = Some(item),
            Some(last) => last.links().next.set(Some(item)),
        }
        self.last = Some(item);
    }

    /// Takes the first item.
    #[inline]
    pub fn pop(&mut self) -> Option<&'static T> {
        let first = self.first?;
        self.first = first.links().next.get();
        match self.first {
            None => self.last = None,
            Some(second) => second.links().previous.set(None),
        }
        Some(first)
    }

    /// Takes an item out, wherever in this list it stands.
    pub fn remove(&mut self, item: &'static T) {
        let (next, previous) = (item.links().next.get(), item.links().previous.get());
        match previous {
            None => self.first = next,
            Some(previous) => previous.links().next.set(next),
        }
        match next {
            None => self.last = previous,
            Some(next) => next.links().previous.set(previous),
        }
    }

    /// Takes the first item for which `matches` holds.
    #[inline]
    pub fn take(&mut self, mut matches: impl FnMut(&'static T) -> bool) -> Option<&'static T> {
        let mut at = self.first;
        while let Some(item) = at {
            if matches(item) {
                self.remove(item);
                return Some(item);
            }
            at = item.links().next.get();
        }
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;

    #[derive(Debug)]
    pub struct Item {
        pub number: usize,
        links: Links<Item>,
    }

    impl Item {
        pub fn leak(number: usize) -> &'static Item {
            Box::leak(Box::new(Item { number, links: Links::new() }))
        }
    }

    impl Linked for Item {
        fn links(&self) -> &Links<Item> {
            &self.links
        }
    }

    proptest! {
        /// Against a vector.
        #[test]
        fn first_come_first_served(actions in prop::collection::vec((0u8..5, any::<prop::sample::Index>()), 1..200)) {
            let mut list: List<Item> = List::EMPTY;
            let mut model: Vec<&'static Item> = Vec::new();
            for (number, (action, which)) in actions.into_iter().enumerate() {
                match action {
                    0 => {
                        let expected = (!model.is_empty()).then(|| model.remove(0).number);
                        prop_assert_eq!(list.pop().map(|item| item.number), expected);
                    }
                    1 if !model.is_empty() => list.remove(model.remove(which.index(model.len()))),
                    2 => {
                        let odd = |item: &Item| item.number % 2 == 1;
                        let expected = model.iter().position(|item| odd(item)).map(|at| model.remove(at).number);
                        prop_assert_eq!(list.take(odd).map(|item| item.number), expected);
                    }
                    _ => {
                        let item = Item::leak(number);
                        model.push(item);
                        list.push(item);
                    }
                }
                prop_assert_eq!(list.is_empty(), model.is_empty());
            }
        }
    }
}
