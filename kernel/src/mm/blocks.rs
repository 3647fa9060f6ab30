//! Which frames of physical memory are free: the books, apart from the memory itself.
//!
//! Memory is seen in blocks of 512 frames (2 MiB, the size of a large page). A block has a bitmap of
//! its free frames and stands in one of two lists: blocks with some free frames, and blocks that are
//! free as a whole. Nothing is written for a block before the first frame of it is wanted, so that
//! boot does not pay for memory that stays unused.

use super::Region;

/// Bytes in a frame.
pub const FRAME: usize = 4096;
/// Frames in a block.
pub const BLOCK: usize = 512;
/// Bytes in a block.
pub const BLOCK_BYTES: usize = BLOCK * FRAME;
/// The longest run that [`Blocks::allocate`] gives, but for a whole block: one word of the bitmap.
pub const LONGEST_RUN: usize = 64;

const NONE: u32 = u32::MAX;
const WORDS: usize = BLOCK / 64;

/// The books of one block.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    free: [u64; WORDS],
    count: u32,
    previous: u32,
    next: u32,
}

impl Block {
    const EMPTY: Block = Block { free: [0; WORDS], count: 0, previous: NONE, next: NONE };
}

/// The most regions of free memory that are kept apart; a PC has fewer than ten.
const REGIONS: usize = 32;

/// Free memory, frame by frame. Addresses are physical.
#[derive(Debug)]
pub struct Blocks<'a> {
    blocks: &'a mut [core::mem::MaybeUninit<Block>],
    regions: [Region; REGIONS],
    region_count: usize,
    /// Blocks below this one have their books opened.
    opened: usize,
    some_free: u32,
    all_free: u32,
    free_frames: usize,
}

impl<'a> Blocks<'a> {
    /// Books without memory. They go into `blocks`, one entry for 2 MiB from address 0.
    #[must_use]
    pub const fn new(blocks: &'a mut [core::mem::MaybeUninit<Block>]) -> Blocks<'a> {
        Blocks {
            blocks,
            regions: [Region { start: 0, end: 0 }; REGIONS],
            region_count: 0,
            opened: 0,
            some_free: NONE,
            all_free: NONE,
            free_frames: 0,
        }
    }

    /// Bytes that the books of memory up to `end` take.
    #[must_use]
    pub const fn bytes_for(end: usize) -> usize {
        end.div_ceil(BLOCK_BYTES) * size_of::<Block>()
    }

    /// Frames that are free.
    #[must_use]
    pub const fn free_frames(&self) -> usize {
        self.free_frames
    }

    /// Adds the whole frames of a region, which was not free before. Memory beyond the books, and
    /// regions beyond what can be kept apart, are left unused.
    pub fn add(&mut self, region: Region) {
        let start = region.start.next_multiple_of(FRAME);
        let end = (region.end & !(FRAME - 1)).min(self.blocks.len() * BLOCK_BYTES);
        if start >= end || self.region_count == REGIONS {
            return;
        }
        self.regions[self.region_count] = Region { start, end };
        self.region_count += 1;
        self.free_frames += (end - start) / FRAME;
        let opened_end = self.opened * BLOCK_BYTES;
        if start < opened_end {
            let frames = (end.min(opened_end) - start) / FRAME;
            self.free_frames -= frames;
            self.free(start, frames);
        }
    }

    fn block(&mut self, index: usize) -> &mut Block {
        debug_assert!(index < self.opened);
        // SAFETY: `open` has written the books of every block below `opened`.
        unsafe { self.blocks[index].assume_init_mut() }
    }

    /// Opens the books of the next block. `None` when all are open.
    fn open(&mut self) -> Option<usize> {
        let index = self.opened;
        let start = index * BLOCK_BYTES;
        let slot = self.blocks.get_mut(index)?;
        let mut block = Block::EMPTY;
        for region in &self.regions[..self.region_count] {
            let from = region.start.clamp(start, start + BLOCK_BYTES) - start;
            let to = region.end.clamp(start, start + BLOCK_BYTES) - start;
            for frame in from / FRAME..to / FRAME {
                block.free[frame / 64] |= 1 << (frame % 64);
            }
        }
        block.count = block.free.iter().map(|word| word.count_ones()).sum();
        slot.write(block);
        self.opened += 1;
        self.link(index);
        Some(index)
    }

    fn list(&mut self, count: u32) -> Option<&mut u32> {
        match count {
            0 => None,
            count if count as usize == BLOCK => Some(&mut self.all_free),
            _ => Some(&mut self.some_free),
        }
    }

    /// Puts a block at the head of the list that its count belongs to.
    fn link(&mut self, index: usize) {
        let count = self.block(index).count;
        let Some(head) = self.list(count) else { return };
        let next = core::mem::replace(head, index as u32);
        let block = self.block(index);
        (block.previous, block.next) = (NONE, next);
        if next != NONE {
            self.block(next as usize).previous = index as u32;
        }
    }

    /// Takes a block out of the list that its count belongs to.
    fn unlink(&mut self, index: usize) {
        let Block { count, previous, next, .. } = *self.block(index);
        let Some(head) = self.list(count) else { return };
        if previous == NONE {
            *head = next;
        } else {
            self.block(previous as usize).next = next;
        }
        if next != NONE {
            self.block(next as usize).previous = previous;
        }
    }

    /// Changes a block's books and keeps it in the right list.
    fn update(&mut self, index: usize, change: impl FnOnce(&mut Block)) {
        let before = self.block(index).count;
        let mut copy = *self.block(index);
        change(&mut copy);
        let after = copy.count;
        let full = BLOCK as u32;
        if (before == 0) == (after == 0) && (before == full) == (after == full) {
            *self.block(index) = copy;
        } else {
            self.unlink(index);
            *self.block(index) = copy;
            self.link(index);
        }
    }

    /// Takes `frames` frames that follow each other, at an address that is a multiple of their
    /// number's next power of two. At most [`LONGEST_RUN`], or [`BLOCK`].
    pub fn allocate(&mut self, frames: usize) -> Option<usize> {
        if frames == BLOCK {
            return self.allocate_block();
        }
        debug_assert!(0 < frames && frames <= LONGEST_RUN);
        let mut index = self.some_free;
        // With many blocks in use, a long run is not searched for everywhere: first in some, then in
        // a fresh block.
        let mut tries = 16;
        while index != NONE && tries > 0 {
            if let Some(address) = self.take_run(index as usize, frames) {
                return Some(address);
            }
            index = self.block(index as usize).next;
            tries -= 1;
        }
        loop {
            let fresh = match self.all_free {
                NONE => self.open(),
                index => Some(index as usize),
            };
            let Some(fresh) = fresh else { break };
            if let Some(address) = self.take_run(fresh, frames) {
                return Some(address);
            }
        }
        while index != NONE {
            if let Some(address) = self.take_run(index as usize, frames) {
                return Some(address);
            }
            index = self.block(index as usize).next;
        }
        None
    }

    fn allocate_block(&mut self) -> Option<usize> {
        while self.all_free == NONE {
            self.open()?;
        }
        let index = self.all_free as usize;
        self.update(index, |block| {
            block.free = [0; WORDS];
            block.count = 0;
        });
        self.free_frames -= BLOCK;
        Some(index * BLOCK_BYTES)
    }

    fn take_run(&mut self, index: usize, frames: usize) -> Option<usize> {
        let free = &self.block(index).free;
        let (word, bit) = free
            .iter()
            .enumerate()
            .find_map(|(word, bits)| Some((word, find_run(*bits, frames)?)))?;
        self.update(index, |block| {
            block.free[word] &= !(ones(frames) << bit);
            block.count -= frames as u32;
        });
        self.free_frames -= frames;
        Some(index * BLOCK_BYTES + (word * 64 + bit) * FRAME)
    }

    /// Gives back frames that [`Blocks::allocate`] gave, or a part of them.
    ///
    /// # Panics
    ///
    /// When one of them is free already: somebody uses memory that is not theirs.
    pub fn free(&mut self, address: usize, frames: usize) {
        let mut frame = address / FRAME;
        let end = frame + frames;
        while frame < end {
            let (index, word, bit) = (frame / BLOCK, frame % BLOCK / 64, frame % 64);
            let run = (64 - bit).min(end - frame);
            let mask = ones(run) << bit;
            self.update(index, |block| {
                assert!(block.free[word] & mask == 0, "a frame was freed twice");
                block.free[word] |= mask;
                block.count += run as u32;
            });
            frame += run;
        }
        self.free_frames += frames;
    }
}

/// The lowest `count` bits, of 1 to 64.
const fn ones(count: usize) -> u64 {
    u64::MAX >> (64 - count)
}

/// The lowest place of `run` one bits in a row, at a multiple of the run's next power of two.
fn find_run(bits: u64, run: usize) -> Option<usize> {
    if run == 1 {
        return (bits != 0).then(|| bits.trailing_zeros() as usize);
    }
    let step = run.next_power_of_two();
    let mask = ones(run);
    let mut bit = 0;
    while bit <= 64 - run {
        if bits >> bit & mask == mask {
            return Some(bit);
        }
        bit += step;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::MaybeUninit;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn books(len: usize) -> &'static mut [MaybeUninit<Block>] {
        Box::leak(vec![MaybeUninit::uninit(); len].into_boxed_slice())
    }

    #[test]
    fn memory_is_counted_without_opening_books() {
        let mut blocks = Blocks::new(books(4));
        blocks.add(Region { start: 0x1000, end: 0x9_fc00 });
        blocks.add(Region { start: 0x10_0000, end: 0x80_0000 });
        assert_eq!(blocks.free_frames(), 0x9e + 0x700);
        assert_eq!(blocks.opened, 0);
        assert_eq!(blocks.allocate(1), Some(0x1000));
        assert_eq!(blocks.opened, 1);
    }

    #[test]
    fn every_frame_is_given_once() {
        let mut blocks = Blocks::new(books(2));
        blocks.add(Region { start: 0x1000, end: 0x40_0000 });
        let mut seen = std::collections::BTreeSet::new();
        while let Some(address) = blocks.allocate(1) {
            assert!(seen.insert(address));
        }
        assert_eq!(seen.len(), 1023);
        assert_eq!(blocks.free_frames(), 0);
    }

    #[test]
    fn a_whole_block_comes_back() {
        let mut blocks = Blocks::new(books(3));
        blocks.add(Region { start: 0x1000, end: 0x60_0000 });
        let block = blocks.allocate(BLOCK).unwrap();
        assert_eq!(block % BLOCK_BYTES, 0);
        let other = blocks.allocate(BLOCK).unwrap();
        assert_ne!(block, other);
        assert_eq!(blocks.allocate(BLOCK), None);
        blocks.free(block, BLOCK);
        assert_eq!(blocks.allocate(BLOCK), Some(block));
    }

    #[test]
    fn memory_added_late_is_used() {
        let mut blocks = Blocks::new(books(1));
        blocks.add(Region { start: 0x1000, end: 0x3000 });
        assert!(blocks.allocate(1).is_some());
        blocks.add(Region { start: 0x8000, end: 0xa000 });
        assert_eq!(blocks.free_frames(), 3);
        let mut given: Vec<_> = core::iter::from_fn(|| blocks.allocate(1)).collect();
        given.sort_unstable();
        assert_eq!(given, [0x2000, 0x8000, 0x9000]);
    }

    #[test]
    #[should_panic(expected = "freed twice")]
    fn freeing_twice_is_noticed() {
        let mut blocks = Blocks::new(books(1));
        blocks.add(Region { start: 0x1000, end: 0x3000 });
        let frame = blocks.allocate(1).unwrap();
        blocks.free(frame, 1);
        blocks.free(frame, 1);
    }

    proptest! {
        /// Any mix of requests: runs never overlap, are aligned, lie in free memory, and the count
        /// of free frames is right.
        #[test]
        fn runs_are_disjoint(requests in prop::collection::vec((1usize..=64, any::<bool>(), any::<prop::sample::Index>()), 1..300)) {
            let mut blocks = Blocks::new(books(5));
            let regions = [Region { start: 0x1000, end: 0x9_f000 }, Region { start: 0x11_3000, end: 0x9f_e000 }];
            for region in regions {
                blocks.add(region);
            }
            let all = blocks.free_frames();
            let mut held: BTreeMap<usize, usize> = BTreeMap::new();
            for (frames, release, which) in requests {
                let frames = if frames == 64 { BLOCK } else { frames };
                if release && !held.is_empty() {
                    let address = *which.get(&held.keys().copied().collect::<Vec<_>>());
                    blocks.free(address, held.remove(&address).unwrap());
                } else if let Some(address) = blocks.allocate(frames) {
                    let end = address + frames * FRAME;
                    prop_assert!(address.is_multiple_of(frames.next_power_of_two() * FRAME));
                    prop_assert!(regions.iter().any(|region| region.start <= address && end <= region.end));
                    if let Some((below, count)) = held.range(..end).next_back() {
                        prop_assert!(below + count * FRAME <= address);
                    }
                    held.insert(address, frames);
                }
                prop_assert_eq!(blocks.free_frames() + held.values().sum::<usize>(), all);
            }
            for (address, frames) in held {
                blocks.free(address, frames);
            }
            prop_assert_eq!(blocks.free_frames(), all);
        }
    }
}
