//! Frames of physical memory.

use core::mem::MaybeUninit;
use core::ptr;

use super::Region;
pub use super::blocks::{BLOCK, FRAME};
use super::blocks::{Block, Blocks};
use super::regions::Regions;
use crate::arch;
use crate::sync::{Lock, LockGuard};

struct Frames {
    blocks: Blocks<'static>,
    /// Free frames that were promised to areas whose pages are not there yet.
    promised: usize,
    total: usize,
}

/// What the loader has left behind, taken when memory is short.
static RESERVE: Lock<Regions> = Lock::new(Regions::new());

static FRAMES: Lock<Frames> =
    Lock::new(Frames { blocks: Blocks::new(&mut []), promised: 0, total: 0 });

impl Frames {
    /// True when `count` more frames are there than are promised.
    #[inline(never)]
    fn has(&mut self, count: usize) -> bool {
        loop {
            match self.promised.checked_add(count) {
                Some(sum) if sum <= self.blocks.free_frames() => return true,
                Some(_) => {}
                None => return false,
            }
            let Some(region) = RESERVE.lock().pop() else {
                return false;
            };
            self.blocks.add(region);
            self.total = self.total.max(self.blocks.free_frames());
        }
    }
}

fn lock() -> LockGuard<'static, Frames> {
    // A page fault on the stack needs this lock: let it happen before. An area's lock may be held
    // already; its half of the page is for getting here.
    arch::touch_stack::<2048>();
    FRAMES.lock()
}

/// Takes over free memory. `books` is where the books go: memory that is in none of the regions.
///
/// # Safety
///
/// The regions, and the books, are mapped in the direct map and used by nobody.
pub unsafe fn init(regions: impl Iterator<Item = Region>, books: Region) {
    let pointer = arch::direct(books.start) as *mut MaybeUninit<Block>;
    let count = (books.end - books.start) / size_of::<Block>();
    // SAFETY: the caller gives the memory away; uninitialised books are what `Blocks` takes.
    let books = unsafe { core::slice::from_raw_parts_mut(pointer, count) };
    let mut frames = FRAMES.lock();
    frames.blocks = Blocks::new(books);
    regions.for_each(|region| frames.blocks.add(region));
    frames.total = frames.blocks.free_frames();
}

/// Adds memory that is used last: code that has run there makes an emulator slow to write there, because it
/// looks after its translations with each write.
///
/// # Safety
///
/// As for [`init`].
pub unsafe fn add_reserve(regions: &Regions) {
    *RESERVE.lock() = *regions;
}

/// Frames that are neither in use nor promised.
#[must_use]
pub fn available() -> usize {
    let frames = lock();
    // Page tables come out of what is promised, and stay in the count.
    frames.blocks.free_frames().saturating_sub(frames.promised)
}

/// All frames that the kernel has had to give since boot.
#[must_use]
pub fn total() -> usize {
    lock().total
}

/// Takes a run of frames, as [`Blocks::allocate`] has them; gives its physical address.
pub fn allocate(count: usize) -> Option<usize> {
    let mut frames = lock();
    if !frames.has(count) {
        return None;
    }
    frames.blocks.allocate(count)
}

/// Takes a frame for a page table. It may come out of what was promised: promises count their tables.
pub fn allocate_zeroed() -> Option<usize> {
    let frame = lock().blocks.allocate(1)?;
    zero(frame, 1);
    Some(frame)
}

/// Makes good `count` promises, one or [`BLOCK`]: zeroed frames in one piece. `None` when there is no such piece.
pub fn allocate_promised(count: usize) -> Option<usize> {
    let address = {
        let mut frames = lock();
        let address = frames.blocks.allocate(count)?;
        frames.promised -= count;
        address
    };
    zero(address, count);
    Some(address)
}

/// A zeroed frame for the next page of a stack.
pub fn allocate_for_stack() -> Option<usize> {
    let frame = allocate(1)?;
    zero(frame, 1);
    Some(frame)
}

/// Promises `count` frames; `false` when there are not so many.
#[must_use]
pub fn promise(count: usize) -> bool {
    let mut frames = lock();
    let enough = frames.has(count);
    if enough {
        frames.promised += count;
    }
    enough
}

/// Takes a promise back that was not made use of.
pub fn unpromise(count: usize) {
    lock().promised -= count;
}

/// Gives frames back.
pub fn free(address: usize, count: usize) {
    lock().blocks.free(address, count);
}

fn zero(address: usize, count: usize) {
    // SAFETY: the frames are free memory that was just taken, in the direct map.
    unsafe { ptr::write_bytes(arch::direct(address) as *mut u64, 0, count * FRAME / 8) };
}
