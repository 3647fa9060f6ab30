//! Which memory is free: the loader's map less what is in use.

use super::Region;
use super::blocks::FRAME;

/// The most regions that are kept apart.
pub const REGIONS: usize = 32;

/// A short list of regions.
#[derive(Clone, Copy, Debug)]
pub struct Regions {
    regions: [Region; REGIONS],
    count: usize,
}

impl Default for Regions {
    fn default() -> Self {
        Self::new()
    }
}

impl Regions {
    /// No memory.
    #[must_use]
    pub const fn new() -> Regions {
        Regions { regions: [Region { start: 0, end: 0 }; REGIONS], count: 0 }
    }

    /// Adds a region, or makes the last one longer when it follows without a gap. Empty regions, and
    /// those for which there is no room, are left out.
    pub fn push(&mut self, region: Region) {
        if region.start >= region.end {
            return;
        }
        if let Some(last) = self.regions[..self.count].last_mut()
            && last.end == region.start
        {
            last.end = region.end;
        } else if self.count < REGIONS {
            self.regions[self.count] = region;
            self.count += 1;
        }
    }

    /// Takes the last region out.
    pub fn pop(&mut self) -> Option<Region> {
        self.count = self.count.checked_sub(1)?;
        Some(self.regions[self.count])
    }

    /// The regions.
    #[must_use]
    pub fn as_slice(&self) -> &[Region] {
        &self.regions[..self.count]
    }

    /// The whole frames of these regions that do not belong to `used`.
    #[must_use]
    pub fn without(&self, used: Region) -> Regions {
        let used =
            Region { start: used.start & !(FRAME - 1), end: used.end.next_multiple_of(FRAME) };
        let mut left = Regions::new();
        for region in self.as_slice() {
            let (start, end) = (region.start.next_multiple_of(FRAME), region.end & !(FRAME - 1));
            left.push(Region { start, end: end.min(used.start) });
            left.push(Region { start: start.max(used.end), end });
        }
        left
    }

    /// The end of the highest region.
    #[must_use]
    pub fn end(&self) -> usize {
        self.as_slice().iter().map(|region| region.end).max().unwrap_or(0)
    }

    /// The longest region that begins below `limit`.
    #[must_use]
    pub fn longest_below(&self, limit: usize) -> Option<Region> {
        self.as_slice()
            .iter()
            .copied()
            .filter(|region| region.start < limit)
            .max_by_key(|region| region.end - region.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_used_is_cut_out() {
        let mut map = Regions::new();
        map.push(Region { start: 0, end: 0x9_fc00 });
        map.push(Region { start: 0x10_0000, end: 0x40_0000 });
        let free = map
            .without(Region { start: 0, end: FRAME })
            .without(Region { start: 0x12_0800, end: 0x13_0001 });
        let expected = [(0x1000, 0x9_f000), (0x10_0000, 0x12_0000), (0x13_1000, 0x40_0000)];
        let expected: Vec<_> = expected.iter().map(|&(start, end)| Region { start, end }).collect();
        assert_eq!(free.as_slice(), expected);
        assert_eq!(free.end(), 0x40_0000);
    }

    #[test]
    fn neighbours_are_one() {
        let mut map = Regions::new();
        map.push(Region { start: 0x1000, end: 0x2000 });
        map.push(Region { start: 0x2000, end: 0x3000 });
        map.push(Region { start: 0x3000, end: 0x3000 });
        assert_eq!(map.as_slice(), [Region { start: 0x1000, end: 0x3000 }]);
    }

    proptest! {
        /// A frame is left exactly when it was there as a whole and nothing of it is used.
        #[test]
        fn cutting_agrees_with_counting(
            edges in prop::collection::btree_set(0usize..60_000, 4),
            used in (0usize..60_000, 0usize..30_000),
        ) {
            let edges: Vec<_> = edges.into_iter().collect();
            let regions = [Region { start: edges[0], end: edges[1] }, Region { start: edges[2], end: edges[3] }];
            let used = Region { start: used.0, end: used.0 + used.1 };
            let mut map = Regions::new();
            regions.into_iter().for_each(|region| map.push(region));
            let free = map.without(used);
            let covers = |regions: &[Region], start: usize| regions.iter().any(|region| region.start <= start && start + FRAME <= region.end);
            for start in (0..64_000).step_by(FRAME) {
                let clash = used.start < used.end && used.start < start + FRAME && start < used.end;
                if used.start < used.end {
                    prop_assert_eq!(covers(free.as_slice(), start), covers(&regions, start) && !clash, "{:#x}", start);
                }
            }
        }
    }
}
