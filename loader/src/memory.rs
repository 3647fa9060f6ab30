//! Sets of physical memory.

use core::ops::Range;

use crate::image::PAGE;
use crate::problem::Problem;

/// How many separate pieces a set can have; real memory maps have about ten.
const CAPACITY: usize = 64;

/// A set of whole pages of physical memory, as sorted ranges that do not touch.
#[derive(Debug, Clone)]
pub struct Memory {
    ranges: [(u64, u64); CAPACITY],
    count: usize,
}

impl Memory {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: [(0, 0); CAPACITY], count: 0 }
    }

    /// The ranges, from low to high.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = Range<u64>> {
        self.ranges.iter().take(self.count).map(|&(start, end)| start..end)
    }

    /// Adds the pages that lie completely in `range`.
    pub fn insert(&mut self, range: Range<u64>) -> Result<(), Problem> {
        let start = range.start.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        self.change(start..range.end / PAGE * PAGE, true)
    }

    /// Takes away the pages that `range` touches.
    pub fn remove(&mut self, range: Range<u64>) -> Result<(), Problem> {
        let end = range.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX / PAGE * PAGE);
        self.change(range.start / PAGE * PAGE..end, false)
    }

    /// Builds the set anew: everything outside of `range` stays, everything inside is in the set
    /// or not, as `present` says.
    fn change(&mut self, range: Range<u64>, present: bool) -> Result<(), Problem> {
        if range.is_empty() {
            return Ok(());
        }
        let mut result = Self::new();
        let mut pending = present.then_some(range.clone());
        for old in self.ranges() {
            if present && pending.as_ref().is_some_and(|new| new.end < old.start) {
                result.push(pending.take())?;
            }
            match &mut pending {
                // What overlaps or touches becomes one range.
                Some(new) if old.start <= new.end && new.start <= old.end => {
                    *new = new.start.min(old.start)..new.end.max(old.end);
                }
                _ if present => result.push(Some(old))?,
                _ => {
                    result.push(Some(old.start..old.end.min(range.start)))?;
                    result.push(Some(old.start.max(range.end)..old.end))?;
                }
            }
        }
        result.push(pending)?;
        *self = result;
        Ok(())
    }

    fn push(&mut self, range: Option<Range<u64>>) -> Result<(), Problem> {
        let Some(range) = range.filter(|range| !range.is_empty()) else {
            return Ok(());
        };
        let slot = self
            .ranges
            .get_mut(self.count)
            .ok_or(Problem::BootInformation("its memory map has too many pieces"))?;
        *slot = (range.start, range.end);
        self.count += 1;
        Ok(())
    }

    /// The lowest place within `window` for `size` bytes at a multiple of `align`, a power of
    /// two; or else the size of the largest piece in the window.
    pub fn find(&self, size: u64, align: u64, window: Range<u64>) -> Result<u64, u64> {
        let mut largest = 0;
        for range in self.ranges() {
            let start = range.start.max(window.start).next_multiple_of(align);
            let end = range.end.min(window.end);
            let room = end.saturating_sub(start);
            if room >= size {
                return Ok(start);
            }
            largest = largest.max(room);
        }
        Err(largest)
    }

    /// Whether all pages that `range` touches are in the set.
    pub fn contains(&self, range: &Range<u64>) -> bool {
        let start = range.start / PAGE * PAGE;
        self.ranges().any(|known| {
            known.start <= start
                && range.end.checked_next_multiple_of(PAGE).is_some_and(|end| end <= known.end)
        })
    }

    /// How many bytes are in the set.
    pub fn total(&self) -> u64 {
        self.ranges().map(|range| range.end - range.start).sum()
    }

    /// The end of the highest range, 0 for the empty set.
    pub fn end(&self) -> u64 {
        self.ranges().next_back().map_or(0, |range| range.end)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn only_whole_pages_count() {
        let mut memory = Memory::new();
        memory.insert(0x10..0x3ff0).unwrap();
        assert!(memory.ranges().eq(core::iter::once(0x1000..0x3000)));
        memory.remove(0x1fff..0x2000).unwrap();
        assert!(memory.ranges().eq(core::iter::once(0x2000..0x3000)));
    }

    #[test]
    fn the_lowest_fitting_place_is_taken() {
        let mut memory = Memory::new();
        memory.insert(0x0..0x9f000).unwrap();
        memory.insert(0x10_0000..0x20_0000).unwrap();
        assert_eq!(memory.find(0x1000, PAGE, 0x1_0000..u64::MAX), Ok(0x1_0000));
        assert_eq!(memory.find(0xa_0000, PAGE, 0..u64::MAX), Ok(0x10_0000));
        assert_eq!(memory.find(0x20_0000, PAGE, 0..u64::MAX), Err(0x10_0000));
        assert_eq!(memory.find(0x1000, 0x20_0000, 0x1000..u64::MAX), Err(0));
    }

    #[test]
    fn what_reaches_beyond_the_end_is_not_contained() {
        let mut memory = Memory::new();
        memory.insert(0x1000..0x4000).unwrap();
        assert!(memory.contains(&(0x1fff..0x4000)));
        assert!(!memory.contains(&(0x1fff..0x4001)));
        assert!(!memory.contains(&(0xfff..0x2000)));
    }

    #[test]
    fn a_map_with_too_many_pieces_is_an_error() {
        let mut memory = Memory::new();
        let result = (0..100u64)
            .try_for_each(|piece| memory.insert(piece * 0x2000..piece * 0x2000 + 0x1000));
        assert!(matches!(result, Err(Problem::BootInformation(_))));
    }

    #[test]
    fn the_ends_of_the_address_space_do_not_overflow() {
        let mut memory = Memory::new();
        memory.insert(u64::MAX - 1..u64::MAX).unwrap();
        memory.insert(0..u64::MAX).unwrap();
        memory.remove(u64::MAX - 0x1fff..u64::MAX).unwrap();
        assert_eq!(memory.end(), u64::MAX - 0x1fff);
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_pages(steps in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..12), 0..30)) {
            let mut memory = Memory::new();
            let mut model = [false; 64];
            for (add, start, length) in steps {
                let range = start * PAGE..(start + length) * PAGE;
                if add { memory.insert(range).unwrap() } else { memory.remove(range).unwrap() }
                model[start as usize..(start + length) as usize].fill(add);
            }
            let ranges: Vec<_> = memory.ranges().collect();
            for (page, present) in model.iter().enumerate() {
                let inside = ranges.iter().any(|range| range.contains(&(page as u64 * PAGE)));
                prop_assert_eq!(inside, *present);
            }
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
