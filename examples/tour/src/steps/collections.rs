//! Collections, iterators, hashing.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;

use crate::report::{Report, fine};
use crate::{ensure, ensure_eq};

/// The same sequence of numbers that look random, everywhere.
fn scrambled(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|i| (i ^ 0xdead_beef).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20)
}

pub fn walk(report: &mut Report) {
    report.room("collections");
    report.step("sort and search", || {
        let mut numbers = scrambled(10_000).collect::<Vec<_>>();
        numbers.sort();
        ensure!(numbers.is_sorted());
        ensure_eq!(numbers.binary_search(&numbers[1234]).is_ok(), true);
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        ensure!(numbers.is_sorted_by(|a, b| a >= b));
        fine()
    });
    report.step("HashMap", || {
        let mut map = scrambled(10_000).enumerate().map(|(i, n)| (n, i)).collect::<HashMap<_, _>>();
        for (i, number) in scrambled(10_000).enumerate() {
            ensure_eq!(map.get(&number), Some(&i));
        }
        map.retain(|_, i| i.is_multiple_of(2));
        ensure_eq!(map.len(), 5_000);
        *map.entry(1).or_insert(7) += 1;
        ensure_eq!(map[&1], 8);
        fine()
    });
    report.step("random hash keys", || {
        let hash = |state: &RandomState| state.hash_one("same text");
        let (one, two) = (RandomState::new(), RandomState::new());
        ensure_eq!(hash(&one), hash(&one));
        ensure!(hash(&one) != hash(&two));
        fine()
    });
    report.step("BTreeMap and sets", || {
        let map = scrambled(10_000).zip(0..).collect::<BTreeMap<_, u32>>();
        ensure!(map.keys().is_sorted());
        ensure_eq!(map.range(..1 << 40).count() + map.range(1 << 40..).count(), map.len());
        let (a, b) = (BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4]));
        ensure!(a.intersection(&b).eq(&[2, 3]));
        ensure_eq!(HashSet::from([1, 1, 2]).len(), 2);
        fine()
    });
    report.step("VecDeque and BinaryHeap", || {
        let mut queue = VecDeque::from([2, 3]);
        queue.push_front(1);
        queue.rotate_left(1);
        ensure_eq!(queue, [2, 3, 1]);
        let mut heap = scrambled(1_000).collect::<BinaryHeap<_>>();
        let largest = scrambled(1_000).max();
        ensure_eq!(heap.pop(), largest);
        fine()
    });
    report.step("iterators", || {
        let words = ["one", "two", "three"];
        let joined = words.iter().rev().flat_map(|word| word.chars()).collect::<String>();
        ensure_eq!(joined, "threetwoone");
        ensure_eq!((1..=10).step_by(3).zip(words).last(), Some((7, "three")));
        ensure_eq!(words.chunks(2).map(<[_]>::len).collect::<Vec<_>>(), [2, 1]);
        fine()
    });
}
