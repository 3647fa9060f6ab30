//! Stacks of threads that have ended, kept for those that begin: most threads get one without a page
//! being mapped or taken away.

use super::area;
use super::frames::{self, FRAME};
use crate::sync::Lock;
use crate::{Error, Result};

/// Stacks that are kept at most, on a machine with enough memory: a thousandth of it, if each has its
/// first pages only.
const MOST: usize = 16;
/// Frames of the machine for each stack that is kept.
const FRAMES_EACH: usize = 256;
/// A stack of which more pages were used is not kept.
const DEEPEST: usize = 16;

#[derive(Clone, Copy)]
struct Stack {
    area: usize,
    pages: usize,
}

struct Store {
    stacks: [Stack; MOST],
    count: usize,
}

static STORE: Lock<Store> =
    Lock::new(Store { stacks: [Stack { area: 0, pages: 0 }; MOST], count: 0 });

impl Store {
    fn take(&mut self, pages: usize) -> Option<usize> {
        let kept = &self.stacks[..self.count];
        let at = kept.iter().rposition(|stack| stack.pages == pages)?;
        let stack = self.stacks[at];
        self.count -= 1;
        self.stacks[at] = self.stacks[self.count];
        Some(stack.area)
    }
}

/// A stack of `size` bytes, of which the last `filled` pages are there. A new one is made only when
/// there is `enough` memory.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub fn take(size: usize, filled: usize, enough: impl Fn() -> bool) -> Result<usize> {
    let kept = STORE.lock().take(size.div_ceil(FRAME));
    if let Some(area) = kept {
        return Ok(area);
    }
    if !enough() {
        empty();
        if !enough() {
            return Err(Error::OutOfMemory);
        }
    }
    area::allocate_stack(size, filled)
}

/// Gives back what [`take`] gave.
pub fn give(area: usize) {
    let (pages, used) = area::depth(area).expect("a thread's stack is an area");
    if used <= DEEPEST {
        let most = MOST.min(frames::total() / FRAMES_EACH);
        let mut store = STORE.lock();
        if store.count < most {
            let count = store.count;
            store.stacks[count] = Stack { area, pages };
            store.count += 1;
            drop(store);
            super::heap::SPARE.set(&super::heap::Spare { give_up: empty });
            return;
        }
    }
    discard(area);
}

/// Gives the memory of all stacks that are kept back.
pub fn empty() {
    loop {
        let mut store = STORE.lock();
        let Some(last) = store.count.checked_sub(1) else {
            return;
        };
        store.count = last;
        let area = store.stacks[last].area;
        drop(store);
        discard(area);
    }
}

fn discard(area: usize) {
    area::free(area).expect("a thread's stack is an area");
}
