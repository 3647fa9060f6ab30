//! The allocator.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use check::Numbers;

use crate::memory;
use crate::run::Run;

/// A block that knows what was written to it.
struct Block {
    start: NonNull<u8>,
    layout: Layout,
    mark: u64,
}

// SAFETY: a block is the only owner of its memory.
unsafe impl Send for Block {}

impl Block {
    /// A block of a random size and alignment; none when memory is short.
    fn new(numbers: &mut Numbers) -> Option<Block> {
        let layout = Layout::from_size_align(size(numbers), 1 << numbers.below(8)).ok()?;
        let zeroed = numbers.below(4) == 0;
        // SAFETY: the size is not 0.
        let start = unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
        let start = NonNull::new(start)?;
        assert!(start.addr().get().is_multiple_of(layout.align()), "{start:?} for {layout:?}");
        let mut block = Block { start, layout, mark: numbers.below(usize::MAX) as u64 };
        if zeroed {
            assert!(block.places().all(|at| block.bytes()[at] == 0), "zeroed memory is not zero");
        }
        block.write();
        Some(block)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the block's own memory; every place that is read was written to before.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }

    /// All of a small block; the ends and some bytes of each page of a large one.
    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let size = self.layout.size();
        let stride = if size <= 4_096 { 1 } else { 509 };
        (0..size).step_by(stride).chain([size - 1])
    }

    /// What stands at a place.
    fn byte(&self, at: usize) -> u8 {
        (self.mark.wrapping_mul(at as u64 | 1) >> 40) as u8
    }

    fn write(&mut self) {
        for at in self.places() {
            let byte = self.byte(at);
            self.bytes()[at] = byte;
        }
    }

    fn verify(&mut self) {
        for at in self.places() {
            let byte = self.byte(at);
            let found = self.bytes()[at];
            assert_eq!(found, byte, "byte {at} of a block of {:?} was overwritten", self.layout);
        }
    }

    /// Makes it another size; it stays as it is when memory is short.
    fn resize(&mut self, size: usize) {
        self.verify();
        let kept = self.layout.size().min(size).min(4_096);
        // SAFETY: allocated with this layout; the new size is not 0 and small.
        let start = unsafe { realloc(self.start.as_ptr(), self.layout, size) };
        let Some(start) = NonNull::new(start) else {
            return;
        };
        let whole = self.layout.size() <= 4_096;
        self.start = start;
        self.layout = Layout::from_size_align(size, self.layout.align()).expect("as before");
        if whole {
            for at in 0..kept {
                let byte = self.byte(at);
                assert_eq!(self.bytes()[at], byte, "byte {at} was lost when a block was resized");
            }
        }
        self.write();
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.verify();
        // SAFETY: allocated with this layout, not used after this.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// From 1 B to 4 MiB, small ones much more often.
fn size(numbers: &mut Numbers) -> usize {
    let bits = match numbers.below(100) {
        0 => 22,
        1..5 => 18,
        5..30 => 13,
        _ => 9,
    };
    let bits = numbers.below(bits + 1);
    1 + numbers.below(1 << bits)
}

pub fn heap(run: &Run) -> String {
    // Bytes that all blocks together may have; those of one more block for each thread come on top.
    let budget = (memory::free() / 4).min(256 << 20) as usize;
    let (used, blocks) = (AtomicUsize::new(0), AtomicU64::new(0));
    // Where blocks are left for other threads.
    let counter = (0..8).map(|_| Mutex::new(Vec::<Block>::new())).collect::<Vec<_>>();
    let churn = |percent: u32, first: usize| {
        run.crew(|crew| {
            for number in 0..run.threads() {
                let mut numbers = run.numbers(first + number);
                let (used, blocks, counter) = (&used, &blocks, &counter);
                crew.spawn("user", move |worker| {
                    let mut own: Vec<Block> = Vec::new();
                    let free = |block: Block| {
                        used.fetch_sub(block.layout.size(), Relaxed);
                    };
                    while !run.past(percent) {
                        let full = used.load(Relaxed) > budget || own.len() > 500;
                        match numbers.below(8) {
                            0..3 if !full => {
                                let Some(block) = Block::new(&mut numbers) else {
                                    continue;
                                };
                                used.fetch_add(block.layout.size(), Relaxed);
                                blocks.fetch_add(1, Relaxed);
                                own.push(block);
                            }
                            3 if !own.is_empty() => {
                                let place = numbers.below(own.len());
                                let block = &mut own[place];
                                let before = block.layout.size();
                                block.resize(size(&mut numbers));
                                used.fetch_add(block.layout.size(), Relaxed);
                                used.fetch_sub(before, Relaxed);
                            }
                            4 | 5 if !own.is_empty() => {
                                let block = own.swap_remove(numbers.below(own.len()));
                                counter[numbers.below(8)]
                                    .lock()
                                    .expect("no thread panics")
                                    .push(block);
                            }
                            6 => {
                                let left = &counter[numbers.below(8)];
                                let taken =
                                    std::mem::take(&mut *left.lock().expect("no thread panics"));
                                taken.into_iter().for_each(free);
                            }
                            _ if !own.is_empty() => free(own.swap_remove(numbers.below(own.len()))),
                            _ => {}
                        }
                        worker.step();
                    }
                    own.into_iter().for_each(free);
                });
            }
        });
        for left in &counter {
            for block in std::mem::take(&mut *left.lock().expect("no thread panics")) {
                used.fetch_sub(block.layout.size(), Relaxed);
            }
        }
        assert_eq!(used.load(Relaxed), 0, "blocks were counted wrong");
    };
    churn(20, 0);
    let before = memory::free();
    churn(100, 1_000);
    memory::comes_back(before, "after many blocks");
    // Much of what is free, in one piece.
    let size = (before / 2).min(256 << 20) as usize;
    let mut whole = vec![0_u8; size];
    whole.iter_mut().step_by(4_096).for_each(|byte| *byte = 1);
    assert_eq!(
        whole.iter().step_by(4_096).filter(|byte| **byte == 1).count(),
        size.div_ceil(4_096)
    );
    format!("{} blocks, then {} MiB in one piece", blocks.into_inner(), size >> 20)
}
