//! The names in a directory.
//!
//! A hash table finds a name. Names are listed in the order in which they came: each has a number, and a listing
//! that is interrupted goes on behind the number it has reached, whatever has come and gone meanwhile.

use alloc::sync::Arc;
use alloc::vec::Vec;
#[expect(
    deprecated,
    reason = "the keyed hash of core, for names that a program's users choose"
)]
use core::hash::{Hasher, SipHasher};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::HashTable;

use super::node::{Kind, Node};
use super::room::{self, reserve};
use crate::arch::cpu;
use crate::{Error, Result, random};

/// Names, and what they stand for.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// In the order of their numbers.
    slots: Vec<Slot>,
    /// Where in `slots` each name is.
    index: HashTable<u32>,
    /// How many directories are among them.
    directories: u64,
    /// The number of the next name.
    next: u64,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    /// Nothing, when the name was removed.
    entry: Option<(Vec<u8>, Arc<Node>)>,
}

impl Slot {
    fn has(&self, name: &[u8]) -> bool {
        self.entry.as_ref().is_some_and(|(own, _)| own == name)
    }

    fn hash(&self) -> u64 {
        self.entry.as_ref().map_or(0, |(name, _)| hash(name))
    }
}

impl Names {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many directories are among them.
    pub(super) const fn directories(&self) -> u64 {
        self.directories
    }

    fn place(&self, name: &[u8]) -> Option<usize> {
        let equal = |place: &u32| self.slots[*place as usize].has(name);
        self.index.find(hash(name), equal).map(|place| *place as usize)
    }

    /// What a name stands for.
    pub(super) fn get(&self, name: &[u8]) -> Option<&Arc<Node>> {
        let (_, node) = self.slots[self.place(name)?].entry.as_ref()?;
        Some(node)
    }

    /// The name that stands for a node.
    pub(super) fn name_of(&self, node: &Arc<Node>) -> Option<&[u8]> {
        let entries = self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        entries
            .filter(|(_, other)| Arc::ptr_eq(node, other))
            .map(|(name, _)| name.as_slice())
            .next()
    }

    /// Adds a name, or gives it another meaning.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`]: everything is as it was.
    pub(super) fn insert(&mut self, name: &[u8], node: Arc<Node>) -> Result<()> {
        let added = u64::from(node.kind() == Kind::Directory);
        if let Some(place) = self.place(name) {
            if let Some((_, old)) = &mut self.slots[place].entry {
                self.directories -= u64::from(old.kind() == Kind::Directory);
                *old = node;
            }
        } else {
            let place = u32::try_from(self.slots.len()).map_err(|_| Error::NoSpace)?;
            let mut own = Vec::new();
            reserve(&mut own, name.len())?;
            own.extend_from_slice(name);
            reserve(&mut self.slots, 1)?;
            if self.index.len() == self.index.capacity() {
                // One byte and a number for each, twice as many as now.
                room::check(self.index.len() * 10)?;
            }
            let rehash = |place: &u32| self.slots[*place as usize].hash();
            self.index.try_reserve(1, rehash).map_err(|_| Error::NoSpace)?;
            self.index.insert_unique(hash(name), place, rehash);
            self.slots.push(Slot { number: self.next, entry: Some((own, node)) });
            self.next += 1;
        }
        self.directories += added;
        Ok(())
    }

    /// Removes a name.
    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Arc<Node>> {
        let slots = &mut self.slots;
        let equal = |place: &u32| slots[*place as usize].has(name);
        let found = self.index.find_entry(hash(name), equal).ok()?;
        let (place, _) = found.remove();
        let (_, node) = slots[place as usize].entry.take()?;
        self.directories -= u64::from(node.kind() == Kind::Directory);
        if self.index.is_empty() {
            self.slots = Vec::new();
            self.index = HashTable::new();
        } else if self.slots.len() > 2 * self.index.len() + 16 {
            self.compact();
        }
        Some(node)
    }

    /// Drops the slots of removed names. It costs as much as removing them did.
    fn compact(&mut self) {
        self.slots.retain(|slot| slot.entry.is_some());
        room::shrink(&mut self.slots);
        self.index.clear();
        let mut smaller = HashTable::new();
        let no_hash = |_: &u32| unreachable!("an empty table has nothing to move");
        if self.index.capacity() / 4 > self.slots.len()
            && smaller.try_reserve(self.slots.len(), no_hash).is_ok()
        {
            self.index = smaller;
        }
        for (place, slot) in self.slots.iter().enumerate() {
            let rehash = |place: &u32| self.slots[*place as usize].hash();
            self.index.insert_unique(slot.hash(), place as u32, rehash);
        }
    }

    /// The names whose numbers are not below `number`, each with its number.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &[u8], &Arc<Node>)> {
        let first = self.slots.partition_point(|slot| slot.number < number);
        self.slots[first..].iter().filter_map(|slot| {
            let (name, node) = slot.entry.as_ref()?;
            Some((slot.number, name.as_slice(), node))
        })
    }
}

/// Keyed, so that nobody can choose names that all have the same hash.
#[expect(deprecated, reason = "see above")]
fn hash(name: &[u8]) -> u64 {
    static KEY: AtomicU64 = AtomicU64::new(0);
    let key = match KEY.load(Relaxed) {
        0 => {
            let mut bytes = [0; 8];
            // Without a source of random numbers, time is the least that one can do.
            let random = random::fill(&mut bytes).is_ok();
            let key = if random { u64::from_ne_bytes(bytes) } else { cpu::timestamp() };
            // Two threads at once have to come to the same key.
            let _ = KEY.compare_exchange(0, key | 1, Relaxed, Relaxed);
            KEY.load(Relaxed)
        }
        key => key,
    };
    let mut hasher = SipHasher::new_with_keys(key, !key);
    hasher.write(name);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn file() -> Arc<Node> {
        Node::file(0o644).unwrap()
    }

    #[test]
    fn a_listing_goes_on_where_it_was() {
        let mut names = Names::default();
        for number in 0..100 {
            names.insert(format!("{number}").as_bytes(), file()).unwrap();
        }
        let (tenth, name, _) = names.from(0).nth(9).unwrap();
        assert_eq!(name, b"9");
        for number in 0..95 {
            names.remove(format!("{number}").as_bytes()).unwrap();
        }
        assert!(names.slots.len() < 30, "{}", names.slots.len());
        names.insert(b"new", file()).unwrap();
        let rest: Vec<_> = names.from(tenth + 1).map(|(_, name, _)| name).collect();
        assert_eq!(rest, [&b"95"[..], b"96", b"97", b"98", b"99", b"new"]);
    }

    #[test]
    fn an_empty_directory_holds_no_memory() {
        let mut names = Names::default();
        for number in 0..1000 {
            names.insert(format!("{number}").as_bytes(), file()).unwrap();
        }
        for number in 0..1000 {
            names.remove(format!("{number}").as_bytes()).unwrap();
        }
        assert_eq!((names.slots.capacity(), names.index.capacity()), (0, 0));
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(actions in prop::collection::vec((0u8..3, 0u8..40), 1..400)) {
            let mut names = Names::default();
            let mut model = BTreeMap::new();
            for (action, name) in actions {
                let name = vec![name; 1 + usize::from(name)];
                if action == 0 {
                    prop_assert_eq!(names.remove(&name).is_some(), model.remove(&name).is_some());
                } else {
                    let node = if action == 1 { file() } else { Node::directory(0o755).unwrap() };
                    names.insert(&name, node.clone()).unwrap();
                    model.insert(name, node);
                }
                prop_assert_eq!(names.len(), model.len());
                let directories = model.values().filter(|node| node.kind() == Kind::Directory).count();
                prop_assert_eq!(names.directories(), directories as u64);
                for (name, node) in &model {
                    prop_assert!(Arc::ptr_eq(names.get(name).unwrap(), node));
                    prop_assert_eq!(names.name_of(node), Some(name.as_slice()));
                }
                let mut listed: Vec<_> = names.from(0).map(|(_, name, _)| name.to_vec()).collect();
                listed.sort();
                prop_assert!(listed.iter().eq(model.keys()));
            }
        }
    }
}
