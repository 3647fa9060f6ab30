//! Areas: stacks and large allocations, in address space of their own, filled with pages as they are
//! touched.
//!
//! The region is cut into one terabyte for each power of two, and that into slots of this size. An
//! area takes one slot: a guard page that is never mapped, then its pages; what is left of the slot
//! costs nothing. The books are kept in the page-table entry of the guard page, which has room for
//! them as long as it maps nothing: for an area in use its kind and length, for a free slot the next
//! free one. A free slot of 2 MiB or more has no page table: there the entry is that of the table itself.
//!
//! Of a heap area, the first touch of 2 MiB fills all of them with one large page, where so much memory is free in one
//! piece. It is split when a part of it gets another access, or is given back.
//!
//! A slot that was given back is used again when no processor has a translation of it any more. That is
//! seen to for several slots at a time.

use super::frames::{self, BLOCK, FRAME};
use crate::arch::paging::{Access, DetachedTables, LARGE_PAGE, Slot, TABLE_SHIFT};
use crate::arch::{self, AREA_MAP, DIRECT_MAP, tlb};
use crate::sync::{Lock, LockGuard};
use crate::{Error, Result};

/// The smallest slot is 8 KiB: a guard and one page.
const SMALLEST: u32 = 13;
/// The largest slot is half a terabyte.
const CLASSES: usize = 27;
const CLASS_SHIFT: u32 = 40;

/// What an area is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory that was promised: touching it never fails.
    Heap,
    /// A thread's stack: promised only page by page.
    Stack,
}

/// What an address that faulted belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below the end of a stack.
    StackGuard,
    /// Part of an area, but no frame was left for it.
    OutOfMemory,
    /// No area in use.
    Elsewhere,
}

#[derive(Clone, Copy)]
struct Class {
    /// Slots from this one on were never used.
    fresh: u64,
    /// A free slot's number plus one; 0 for none.
    free: u64,
    /// The same for slots that processors may still have translations of, and the last of them.
    stale: u64,
    last_stale: u64,
}

struct Areas {
    classes: [Class; CLASSES],
    /// Page tables of stale slots.
    tables: DetachedTables,
    /// How many slots are stale.
    stale: usize,
}

/// Slots that are stale at most.
const MOST_STALE: usize = 16;

static AREAS: Lock<Areas> = Lock::new(Areas {
    classes: [Class { fresh: 0, free: 0, stale: 0, last_stale: 0 }; CLASSES],
    tables: DetachedTables::new(),
    stale: 0,
});

fn lock() -> LockGuard<'static, Areas> {
    // A page fault on the stack needs this lock: let it happen before. Half of what is touched is for
    // what runs under the lock, half for the frames' lock below it.
    arch::touch_stack::<4096>();
    AREAS.lock()
}

/// The books of an area, as its guard page's note.
#[derive(Clone, Copy)]
struct Books {
    kind: Kind,
    /// Where the pages start, in bytes from the start of the slot; a power of two.
    offset: usize,
    pages: usize,
    /// Of a stack, pages that are still promised.
    promised: usize,
    /// No page is filled but so many at the end: a stack is given back without a look at the others.
    filled: usize,
}

/// Bits of a note for the number of pages, enough for the largest slot.
const PAGES_BITS: u32 = 28;
/// From so many filled pages on they are not counted: any may be filled.
const MANY: usize = (1 << (62 - 16 - PAGES_BITS)) - 1;

/// Pages of a stack that are promised, so that a thread that could start can also run.
const STACK_PROMISE: usize = 4;

impl Books {
    fn encode(self) -> u64 {
        1 | u64::from(self.kind == Kind::Stack) << 1
            | u64::from(self.offset.trailing_zeros()) << 2
            | (self.promised as u64) << 8
            | (self.pages as u64) << 16
            | (self.filled.min(MANY) as u64) << (16 + PAGES_BITS)
    }

    fn decode(note: u64) -> Option<Books> {
        let pages = (note >> 16) as usize & ((1 << PAGES_BITS) - 1);
        let filled = (note >> (16 + PAGES_BITS)) as usize;
        (note & 1 != 0).then_some(Books {
            kind: if note & 2 != 0 { Kind::Stack } else { Kind::Heap },
            offset: 1 << (note >> 2 & 63),
            promised: (note >> 8 & 0xff) as usize,
            filled: if filled == MANY { pages } else { filled },
            pages,
        })
    }

    /// The pages that may be filled, of an area that starts at `start`: the first of them, and how many.
    fn reached(self, start: usize) -> (usize, usize) {
        match self.kind {
            Kind::Heap => (start, self.pages),
            Kind::Stack => (start + (self.pages - self.filled) * FRAME, self.filled),
        }
    }

    /// Frames that are promised for the pages and, for a heap area, their tables.
    fn promise(self) -> usize {
        match self.kind {
            Kind::Heap => self.pages + tables(self.pages),
            Kind::Stack => self.promised,
        }
    }
}

/// Page tables that so many pages may need: one for each 512, and those at both ends.
fn tables(pages: usize) -> usize {
    pages / 512 + 2
}

/// The slot that an address of the region lies in: its class and its own address.
fn slot_of(address: usize) -> Option<(usize, usize)> {
    if !(AREA_MAP..DIRECT_MAP).contains(&address) {
        return None;
    }
    let class = (address - AREA_MAP) >> CLASS_SHIFT;
    (class < CLASSES).then(|| (class, address & !((1 << (SMALLEST + class as u32)) - 1)))
}

fn books_of(slot: usize) -> Option<Books> {
    Books::decode(Slot::of(slot, false)?.note())
}

/// True when an address lies in the region of areas, so that it is no other allocator's.
#[inline]
#[must_use]
pub fn contains(address: usize) -> bool {
    (AREA_MAP..DIRECT_MAP).contains(&address)
}

/// Makes an area of at least `size` bytes, all zero, its start a multiple of `align`.
///
/// # Errors
///
/// [`Error::OutOfMemory`] when memory, or address space, does not suffice.
pub fn allocate(size: usize, align: usize, kind: Kind) -> Result<usize> {
    let pages = size.div_ceil(FRAME).max(1);
    let offset = align.max(FRAME);
    let books = Books {
        kind,
        offset,
        pages,
        promised: if kind == Kind::Stack { STACK_PROMISE.min(pages) } else { 0 },
        filled: 0,
    };
    place(books, books.promise())
}

/// Makes an area with these books, for which `count` frames have to be promised; gives its start.
fn place(books: Books, count: usize) -> Result<usize> {
    let bytes = books
        .pages
        .checked_mul(FRAME)
        .and_then(|bytes| bytes.checked_add(books.offset)?.checked_next_power_of_two())
        .ok_or(Error::OutOfMemory)?;
    let class = (bytes.ilog2().max(SMALLEST) - SMALLEST) as usize;
    if class >= CLASSES || !frames::promise(count) && !promise_after_all(count) {
        return Err(Error::OutOfMemory);
    }
    let slot = lock().take_slot(class, books);
    let slot = slot.inspect_err(|_| frames::unpromise(count))?;
    Ok(slot + books.offset)
}

/// [`frames::promise`], with what stale slots still hold.
#[cold]
fn promise_after_all(count: usize) -> bool {
    lock().refresh();
    frames::promise(count)
}

impl Areas {
    fn take_slot(&mut self, class: usize, books: Books) -> Result<usize> {
        let shift = SMALLEST + class as u32;
        let base = AREA_MAP + (class << CLASS_SHIFT);
        let entry = &mut self.classes[class];
        let number = if entry.free != 0 { entry.free - 1 } else { entry.fresh };
        if number >> (CLASS_SHIFT - shift) != 0 {
            return Err(Error::OutOfMemory);
        }
        let slot = base + ((number as usize) << shift);
        let free = free_entry(class, slot).map_or(0, Slot::note);
        let guard = Slot::of(slot, true).ok_or(Error::OutOfMemory)?;
        if entry.free != 0 {
            entry.free = free >> 1;
        } else {
            entry.fresh += 1;
        }
        guard.set_note(books.encode());
        Ok(slot)
    }

    /// Takes a slot back, with the page tables of the `pages` pages from `first`, which are gone.
    fn give_slot(&mut self, class: usize, slot: usize, first: usize, pages: usize) {
        let shift = SMALLEST + class as u32;
        if shift >= TABLE_SHIFT {
            let start = first & !((1 << TABLE_SHIFT) - 1);
            for part in (start..first + pages * FRAME).step_by(1 << TABLE_SHIFT) {
                self.tables.detach(part);
            }
            self.tables.detach(slot);
        }
        let Some(link) = free_entry(class, slot) else {
            return;
        };
        let number = ((slot - AREA_MAP - (class << CLASS_SHIFT)) >> shift) as u64 + 1;
        let entry = &mut self.classes[class];
        link.set_note(entry.stale << 1);
        if entry.stale == 0 {
            entry.last_stale = number;
        }
        entry.stale = number;
        self.stale += 1;
        if self.stale >= MOST_STALE {
            self.refresh();
        }
    }

    /// Makes stale slots free.
    fn refresh(&mut self) {
        tlb::flush_all();
        self.tables.free();
        self.stale = 0;
        for (class, entry) in self.classes.iter_mut().enumerate() {
            let Some(last) = entry.last_stale.checked_sub(1) else {
                continue;
            };
            let last =
                AREA_MAP + (class << CLASS_SHIFT) + ((last as usize) << (SMALLEST + class as u32));
            if let Some(link) = free_entry(class, last) {
                link.set_note(entry.free << 1);
                entry.free = entry.stale;
            }
            (entry.stale, entry.last_stale) = (0, 0);
        }
    }
}

/// The entry that has the link of a free slot.
fn free_entry(class: usize, slot: usize) -> Option<Slot> {
    if SMALLEST + class as u32 >= TABLE_SHIFT {
        Slot::of_table(slot)
    } else {
        Slot::of(slot, false)
    }
}

/// The entries of an area's pages, each with its page and the number of frames that it stands for, without those that
/// have no table. A large page that goes on beyond the last page is split.
struct Pages {
    page: usize,
    end: usize,
    /// The entry of `page`, in the same table as the one before.
    entry: Option<Slot>,
}

impl Pages {
    /// `pages` pages from `start`.
    const fn new(start: usize, pages: usize) -> Pages {
        Pages { page: start, end: start + pages * FRAME, entry: None }
    }
}

impl Iterator for Pages {
    type Item = (usize, Slot, usize);

    #[inline(never)]
    fn next(&mut self) -> Option<(usize, Slot, usize)> {
        while self.page < self.end {
            let page = self.page;
            // As far as one table goes.
            let next = self.end.min((page + 1).next_multiple_of(LARGE_PAGE));
            if self.entry.is_none()
                && let Some(large) = Slot::of_large(page)
            {
                if next - page == LARGE_PAGE {
                    self.page = next;
                    return Some((page, large, BLOCK));
                }
                large.split().expect("the area's tables were promised");
            }
            let Some(entry) = self.entry.take().or_else(|| Slot::of(page, false)) else {
                self.page = next;
                continue;
            };
            self.page += FRAME;
            if self.page < next {
                self.entry = Some(entry.following());
            }
            return Some((page, entry, 1));
        }
        None
    }
}

/// The note of a page that was made inaccessible is its frame's address and this.
const INACCESSIBLE: u64 = 1;

/// The frame of a page, accessible or not.
fn held(page: Slot) -> Option<usize> {
    page.frame().or_else(|| {
        (page.note() & INACCESSIBLE != 0).then(|| (page.note() & !INACCESSIBLE) as usize)
    })
}

/// Unmaps pages and frees their frames; tells how many there were. The caller flushes.
fn drop_pages(start: usize, pages: usize) -> usize {
    let mut dropped = 0;
    for (_, slot, count) in Pages::new(start, pages) {
        if let Some(frame) = held(slot) {
            slot.set_note(0);
            frames::free(frame, count);
            dropped += count;
        }
    }
    dropped
}

/// Gives an area back. `start` is what [`allocate`] gave.
///
/// # Errors
///
/// [`Error::InvalidArgument`] when no area starts there.
pub fn free(start: usize) -> Result<()> {
    let mut areas = lock();
    let (class, slot, books) = area_at(start)?;
    let (first, pages) = books.reached(start);
    let dropped = drop_pages(first, pages);
    areas.give_slot(class, slot, first, pages);
    drop(areas);
    frames::unpromise(match books.kind {
        Kind::Heap => books.promise() - dropped,
        Kind::Stack => books.promised,
    });
    Ok(())
}

fn area_at(start: usize) -> Result<(usize, usize, Books)> {
    let (class, slot) = slot_of(start).ok_or(Error::InvalidArgument)?;
    let books = books_of(slot)
        .filter(|books| slot + books.offset == start)
        .ok_or(Error::InvalidArgument)?;
    Ok((class, slot, books))
}

/// Bytes in the area that starts at `start`.
///
/// # Errors
///
/// [`Error::InvalidArgument`] when no area starts there.
pub fn size(start: usize) -> Result<usize> {
    Ok(area_at(start)?.2.pages * FRAME)
}

/// Pages of the stack that starts at `start`, and how many of them, at its end, have been used.
///
/// # Errors
///
/// [`Error::InvalidArgument`] when no area starts there.
pub fn depth(start: usize) -> Result<(usize, usize)> {
    let books = area_at(start)?.2;
    Ok((books.pages, books.filled))
}

/// Makes a heap area longer or shorter; its content stays, without being copied. Gives its new start.
///
/// # Errors
///
/// [`Error::OutOfMemory`]: the area is as it was.
pub fn resize(start: usize, new_size: usize) -> Result<usize> {
    let (class, slot, books) = area_at(start)?;
    let pages = new_size.div_ceil(FRAME).max(1);
    let resized = Books { pages, ..books };
    if pages * FRAME + books.offset <= 1 << (SMALLEST + class as u32) {
        let (old, new) = (books.promise(), resized.promise());
        if new > old && !frames::promise(new - old) {
            return Err(Error::OutOfMemory);
        }
        let areas = lock();
        let dropped = match books.pages.checked_sub(pages) {
            Some(less) => {
                let dropped = drop_pages(start + pages * FRAME, less);
                // The area may grow there again.
                tlb::flush(start + pages * FRAME, less);
                dropped
            }
            None => 0,
        };
        Slot::of(slot, false).ok_or(Error::InvalidArgument)?.set_note(resized.encode());
        drop(areas);
        if old > new {
            frames::unpromise(old - new - dropped);
        }
        return Ok(start);
    }
    // What was promised for the old pages holds for the new ones.
    let moved = place(resized, resized.promise() - books.promise())?;
    let mut areas = lock();
    for (page, from, count) in Pages::new(start, books.pages) {
        if let Some(frame) = held(from) {
            from.set_note(0);
            let page = moved + (page - start);
            let to = if count == 1 {
                Slot::of(page, true)
            } else {
                // Slots with large pages are aligned to them, and areas start at the same place in each. An earlier
                // area may have left a table.
                areas.tables.detach(page);
                Slot::of_table(page)
            };
            to.expect("the new area's tables were promised").fill(frame, count > 1);
        }
    }
    areas.give_slot(class, slot, start, books.pages);
    Ok(moved)
}

/// Fills the page of an address, if it belongs to an area in use. `false`: the access was wrong, or
/// there is no memory (see [`describe`]).
pub fn populate(address: usize) -> bool {
    let Some((_, slot)) = slot_of(address) else {
        return false;
    };
    let _areas = lock();
    let Some(books) = books_of(slot).filter(|books| books.contains(slot, address)) else {
        return false;
    };
    if books.kind == Kind::Heap && populate_block(slot, books, address) {
        return true;
    }
    let Some(page) = Slot::of(address, true) else {
        return false;
    };
    if page.frame().is_some() || page.note() != 0 {
        // Another processor was first; or the page was made inaccessible.
        return page.frame().is_some();
    }
    match books.kind {
        Kind::Heap => {
            let Some(frame) = frames::allocate_promised(1) else {
                return false;
            };
            page.map(frame, Access::ReadWrite);
        }
        Kind::Stack => {
            let Some(guard) = Slot::of(slot, false) else {
                return false;
            };
            let end = slot + books.offset + books.pages * FRAME;
            let Some(books) = books.fill((end - address).div_ceil(FRAME), page) else {
                return false;
            };
            guard.set_note(books.encode());
        }
    }
    true
}

/// Fills all 2 MiB that an address of a heap area lies in with a large page, if they belong to the area and nothing
/// of them is filled; tells whether there is a large page now. The lock is held.
fn populate_block(slot: usize, books: Books, address: usize) -> bool {
    let block = address & !(LARGE_PAGE - 1);
    if !books.contains(slot, block) || !books.contains(slot, block + LARGE_PAGE - 1) {
        return false;
    }
    let Some(entry) = Slot::of_table(block) else {
        return false;
    };
    if entry.frame().is_some() {
        // A table; or another processor was first.
        return entry.is_large();
    }
    let Some(frame) = frames::allocate_promised(BLOCK) else {
        return false;
    };
    entry.fill(frame, true);
    true
}

/// The slot of a page of an area, which is made a small one for it. `None` when memory is short.
fn small(page: usize) -> Option<Slot> {
    let _areas = lock();
    if let Some(large) = Slot::of_large(page) {
        large.split()?;
    }
    Slot::of(page, true)
}

/// Makes a stack of at least `size` bytes, whose last `filled` pages are there: the part that is written to
/// right away is filled while running out of memory is an error.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub fn allocate_stack(size: usize, filled: usize) -> Result<usize> {
    let start = allocate(size, FRAME, Kind::Stack)?;
    match fill_end(start, filled) {
        Ok(()) => Ok(start),
        Err(error) => {
            free(start)?;
            Err(error)
        }
    }
}

/// Fills the last `pages` pages of a stack, which were never touched.
///
/// # Errors
///
/// [`Error::OutOfMemory`]: some of them may be filled.
fn fill_end(start: usize, pages: usize) -> Result<()> {
    let _areas = lock();
    let (_, slot, mut books) = area_at(start)?;
    let guard = Slot::of(slot, false).ok_or(Error::InvalidArgument)?;
    let end = start + books.pages * FRAME;
    let mut result = Ok(());
    for depth in 1..=pages {
        let page = Slot::of(end - depth * FRAME, true);
        match page.and_then(|page| books.fill(depth, page)) {
            Some(filled) => books = filled,
            None => result = Err(Error::OutOfMemory),
        }
    }
    guard.set_note(books.encode());
    result
}

impl Books {
    /// Gives a frame to the page of a stack that is the `depth`th from its end; the books of then.
    fn fill(self, depth: usize, page: Slot) -> Option<Books> {
        let frame = match self.promised {
            0 => frames::allocate_for_stack(),
            _ => frames::allocate_promised(1),
        };
        page.map(frame?, Access::ReadWrite);
        Some(Books {
            promised: self.promised.saturating_sub(1),
            filled: self.filled.max(depth),
            ..self
        })
    }

    fn contains(&self, slot: usize, address: usize) -> bool {
        let start = slot + self.offset;
        (start..start + self.pages * FRAME).contains(&address)
    }
}

/// What an address that [`populate`] did not take belongs to.
#[must_use]
pub fn describe(address: usize) -> Place {
    let Some((_, slot)) = slot_of(address) else {
        return Place::Elsewhere;
    };
    match books_of(slot) {
        Some(books)
            if books.contains(slot, address)
                && Slot::of(address, false)
                    .is_none_or(|page| page.note() == 0 && page.frame().is_none()) =>
        {
            Place::OutOfMemory
        }
        Some(books) if books.kind == Kind::Stack && address < slot + books.offset => {
            Place::StackGuard
        }
        _ => Place::Elsewhere,
    }
}

/// Changes what the pages of `size` bytes from `start`, a part of one area, may be used for. Pages that
/// were never touched are filled first.
///
/// # Errors
///
/// [`Error::InvalidArgument`] when the range is not a part of one heap area, at page boundaries.
pub fn protect(start: usize, size: usize, access: Access) -> Result<()> {
    let (_, slot) = slot_of(start).ok_or(Error::InvalidArgument)?;
    let books = books_of(slot).ok_or(Error::InvalidArgument)?;
    let inside = size > 0
        && books.contains(slot, start)
        && books.contains(slot, start.saturating_add(size - 1));
    if !inside || books.kind != Kind::Heap || !start.is_multiple_of(FRAME) {
        return Err(Error::InvalidArgument);
    }
    for page in (start..start + size).step_by(FRAME) {
        let entry = small(page).ok_or(Error::OutOfMemory)?;
        if held(entry).is_none() {
            populate(page);
        }
        let frame = held(entry).ok_or(Error::OutOfMemory)?;
        match access {
            Access::None => entry.set_note(frame as u64 | INACCESSIBLE),
            access => entry.map(frame, access),
        }
    }
    tlb::flush(start, size.div_ceil(FRAME));
    Ok(())
}
