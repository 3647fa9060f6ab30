//! Page tables (SDM volume 3, 4.5: 4-level paging).

use core::arch::asm;

use super::{AREA_MAP, DEVICE_MAP, DIRECT_MAP, cpu, direct};
use crate::mm::Region;
use crate::mm::frames::{self, FRAME};

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const NO_CACHE: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Bytes of a large page.
pub const LARGE_PAGE: usize = 2 << 20;
const HUGE_PAGE: usize = 1 << 30;

/// What a page may be used for. There is no entry for writable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Constants.
    Read,
    /// Data.
    ReadWrite,
    /// Code.
    ReadExecute,
    /// Present in the books, but any access faults.
    None,
}

impl Access {
    const fn bits(self) -> u64 {
        match self {
            Access::Read => PRESENT | NO_EXECUTE,
            Access::ReadWrite => PRESENT | WRITE | NO_EXECUTE,
            Access::ReadExecute => PRESENT,
            Access::None => 0,
        }
    }
}

type Table = [u64; 512];

fn table(physical: usize) -> *mut Table {
    direct(physical) as *mut Table
}

/// The physical address of the page-map level 4 in use.
#[must_use]
pub fn root_address() -> usize {
    let value: u64;
    // SAFETY: reading CR3 is allowed in ring 0.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    (value & ADDRESS) as usize
}

fn root() -> *mut Table {
    table(root_address())
}

/// Index into the table of `level` (3: page-map level 4, … 0: page table).
const fn index(address: usize, level: u32) -> usize {
    address >> (12 + 9 * level) & 511
}

/// The entry of `address` in the table of `level`, below `root`. Makes the tables on the way when
/// `create` is set; `None` when they are missing, or memory is short, or a large page is in the way.
///
/// # Safety
///
/// `root` is a valid page-map level 4 reachable through the direct map.
unsafe fn entry(root: *mut Table, address: usize, level: u32, create: bool) -> Option<*mut u64> {
    let mut current = root;
    for step in (level + 1..=3).rev() {
        // SAFETY: every table lies in the direct map; the index is below 512.
        unsafe {
            let slot = &raw mut (*current)[index(address, step)];
            if *slot & PRESENT == 0 {
                if !create {
                    return None;
                }
                *slot = frames::allocate_zeroed()? as u64 | PRESENT | WRITE;
            } else if *slot & LARGE != 0 {
                return None;
            }
            current = table((*slot & ADDRESS) as usize);
        }
    }
    // SAFETY: as above.
    Some(unsafe { &raw mut (*current)[index(address, level)] })
}

/// The physical address that `address` is mapped to by the tables in use.
#[must_use]
pub fn translate(address: usize) -> Option<usize> {
    let mut current = root();
    for level in (0..=3).rev() {
        // SAFETY: every table lies in the direct map.
        let value = unsafe { (*current)[index(address, level)] };
        if value & PRESENT == 0 {
            return None;
        }
        if level == 0 || value & LARGE != 0 {
            let size = FRAME << (9 * level);
            return Some((value & ADDRESS) as usize & !(size - 1) | address & (size - 1));
        }
        current = table((value & ADDRESS) as usize);
    }
    None
}

/// Tables like those in use that have page 0 besides, for code. Gives their physical address, or `None`
/// when memory is short.
///
/// They share all tables but those on the way to page 0, so that they must not be in use any more when
/// mappings near that page change.
#[must_use]
pub fn with_page_zero() -> Option<usize> {
    let mut original = Some(root());
    let mut copies = [0; 4];
    for level in (0..=3).rev() {
        copies[level] = frames::allocate_zeroed()?;
        let copy = table(copies[level]);
        // SAFETY: the copy is a fresh frame; the original, if there is one, a live table.
        unsafe {
            if let Some(original) = original {
                copy.copy_from_nonoverlapping(original, 1);
            }
            if level < 3 {
                (*table(copies[level + 1]))[0] = copies[level] as u64 | PRESENT | WRITE;
            }
            let next = (*copy)[0];
            original = (next & PRESENT != 0 && level > 0).then(|| table((next & ADDRESS) as usize));
            if level == 0 {
                (*copy)[0] = Access::ReadExecute.bits();
            }
        }
    }
    Some(copies[3])
}

/// Makes the tables at a physical address those in use.
///
/// # Safety
///
/// They map the running code, its stack and data as those in use do.
pub unsafe fn switch_to(root: usize) {
    // SAFETY: vouched for by the caller.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack)) };
}

/// True when an access to `address` does not fault for want of a page.
#[must_use]
pub fn is_mapped(address: usize) -> bool {
    let canonical = (address as i64) << 16 >> 16 == address as i64;
    canonical && translate(address).is_some()
}

/// A slot of a page-table entry in the area region: one page, present or with a note of the owner's.
#[derive(Clone, Copy)]
pub struct Slot(*mut u64);

impl Slot {
    /// The slot of `address`, which lies in the area region. `None` when its tables do not exist
    /// (and, with `create`, when there is no memory for them).
    #[must_use]
    pub fn of(address: usize, create: bool) -> Option<Slot> {
        debug_assert!((AREA_MAP..DIRECT_MAP).contains(&address));
        // SAFETY: the tables in use are the kernel's own.
        unsafe { entry(root(), address, 0, create).map(Slot) }
    }

    /// The slot of the page table that has the slot of `address`: what it notes goes when the table is
    /// made again.
    #[must_use]
    pub fn of_table(address: usize) -> Option<Slot> {
        debug_assert!((AREA_MAP..DIRECT_MAP).contains(&address));
        // SAFETY: the tables in use are the kernel's own.
        unsafe { entry(root(), address, 1, true).map(Slot) }
    }

    /// The slot of the large page that `address` lies in, if there is one.
    #[must_use]
    pub fn of_large(address: usize) -> Option<Slot> {
        debug_assert!((AREA_MAP..DIRECT_MAP).contains(&address));
        // SAFETY: the tables in use are the kernel's own.
        let slot = unsafe { entry(root(), address, 1, false).map(Slot) };
        slot.filter(|slot| slot.is_large())
    }

    /// A large page is mapped here: this slot is one of [`Slot::of_table`].
    #[must_use]
    pub fn is_large(self) -> bool {
        // SAFETY: as in `frame`.
        let value = unsafe { *self.0 };
        value & (PRESENT | LARGE) == PRESENT | LARGE
    }

    /// Maps `frame` here for reading and writing: a page, or in a slot of [`Slot::of_table`] a `large` one.
    pub fn fill(self, frame: usize, large: bool) {
        let size = if large { LARGE } else { 0 };
        // SAFETY: as in `map`.
        unsafe { *self.0 = frame as u64 | Access::ReadWrite.bits() | size };
    }

    /// Maps a large page as small ones, to the same frames. `None` when there is no memory for their table.
    #[must_use]
    pub fn split(self) -> Option<()> {
        let (page, frame) = (self.frame()?, frames::allocate_zeroed()?);
        for number in 0..512 {
            let small = page + number * FRAME;
            // SAFETY: the new table is a fresh frame in the direct map.
            unsafe { (*table(frame))[number] = small as u64 | Access::ReadWrite.bits() };
        }
        // SAFETY: as in `map`.
        unsafe { *self.0 = frame as u64 | PRESENT | WRITE };
        Some(())
    }

    /// The slot of the next page, which is in the same table.
    #[must_use]
    pub fn following(self) -> Slot {
        debug_assert!(self.0 as usize % FRAME + 8 < FRAME);
        Slot(self.0.wrapping_add(1))
    }

    /// The frame that is mapped here.
    #[must_use]
    pub fn frame(self) -> Option<usize> {
        // SAFETY: a slot points to an entry of a live table.
        let value = unsafe { *self.0 };
        (value & PRESENT != 0).then_some((value & ADDRESS) as usize)
    }

    /// Maps `frame` here for `access`.
    pub fn map(self, frame: usize, access: Access) {
        // SAFETY: as in `frame`; the area region holds no code or data of the kernel's own.
        unsafe { *self.0 = frame as u64 | access.bits() };
    }

    /// The note that was left in an entry that is not present: 62 bits.
    #[must_use]
    pub fn note(self) -> u64 {
        // SAFETY: as in `frame`.
        let value = unsafe { *self.0 };
        if value & PRESENT != 0 { 0 } else { value >> 2 }
    }

    /// Takes the page away, if there is one, and leaves a note; the caller flushes.
    pub fn set_note(self, note: u64) {
        debug_assert!(note < 1 << 62);
        // SAFETY: as in `map`; bit 0 stays clear.
        unsafe { *self.0 = note << 2 };
    }
}

/// Bits of an address within what one page table maps.
pub const TABLE_SHIFT: u32 = LARGE_PAGE.ilog2();

/// Page tables without pages that were taken out, but that processors may still look into.
#[derive(Debug)]
pub struct DetachedTables {
    /// The first one's frame, whose first entry has the frame of the next.
    first: usize,
}

impl DetachedTables {
    /// None.
    #[must_use]
    pub const fn new() -> DetachedTables {
        DetachedTables { first: 0 }
    }

    /// Takes out the page table that maps `address` in the area region, if there is one.
    pub fn detach(&mut self, address: usize) {
        if let Some(slot) = Slot::of_table(address)
            && let Some(frame) = slot.frame()
        {
            slot.set_note(0);
            // SAFETY: a table that maps nothing. A frame's address is the entry of no page.
            unsafe { (*table(frame))[0] = self.first as u64 };
            self.first = frame;
        }
    }

    /// Frees all, when no processor looks into them any more.
    pub fn free(&mut self) {
        while self.first != 0 {
            let frame = self.first;
            // SAFETY: written by `detach`.
            self.first = unsafe { (*table(frame))[0] } as usize;
            frames::free(frame, 1);
        }
    }
}

impl Default for DetachedTables {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes the direct map reachable under tables of a loader that has none: its identity map of low
/// memory serves as one.
///
/// # Safety
///
/// Called first of all, under the loader's tables, which are identity-mapped and writable.
pub unsafe fn adopt_loader_tables() {
    let root = root_address() as *mut Table;
    // SAFETY: the loader's root table is mapped identically.
    unsafe {
        let slot = &raw mut (*root)[index(DIRECT_MAP, 3)];
        if slot.read_volatile() & PRESENT == 0 {
            slot.write_volatile((*root)[0]);
        }
    }
}

/// A part of the image with one kind of access, in virtual addresses.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// First address.
    pub start: usize,
    /// End (exclusive).
    pub end: usize,
    /// What it may be used for.
    pub access: Access,
}

/// Builds the kernel's own tables and switches to them: the image by its segments, and the direct
/// map over `memory` except for the image's own frames, which nobody may reach under a second name.
///
/// `None` when memory does not suffice.
///
/// # Safety
///
/// Called once, under the loader's tables, with the direct map reachable. Whatever the caller still
/// uses of the loader's identity map is gone afterwards.
pub unsafe fn switch_to_own(
    segments: impl Iterator<Item = Segment>,
    memory: &[Region],
    image: &[Region],
) -> Option<()> {
    let root = table(frames::allocate_zeroed()?);
    for region in memory {
        // SAFETY: `root` was just made.
        unsafe { map_direct(root, *region, image)? };
    }
    for segment in segments {
        let mut page = segment.start & !(FRAME - 1);
        while page < segment.end {
            let physical = translate(page)?;
            // SAFETY: `root` was just made; the image's pages are where the loader mapped them.
            unsafe { *entry(root, page, 0, true)? = physical as u64 | segment.access.bits() };
            page += FRAME;
        }
    }
    cpu::enable_no_execute();
    let physical = root as usize - DIRECT_MAP;
    // SAFETY: the new tables map the running code, its data and, through the direct map, the stack
    // region's frames; the caller vouches for the rest.
    unsafe { switch_to(physical) };
    Some(())
}

/// # Safety
///
/// `root` is a table under construction, reachable through the direct map.
unsafe fn map_direct(root: *mut Table, region: Region, image: &[Region]) -> Option<()> {
    let huge_pages = core::arch::x86_64::__cpuid(0x8000_0001).edx & 1 << 26 != 0;
    let end = region.end.next_multiple_of(FRAME);
    let is_image = |start: usize, size: usize| {
        image.iter().any(|part| part.start < start + size && start < part.end)
    };
    let mut at = region.start & !(FRAME - 1);
    while at < end {
        let fits = |size: usize| at.is_multiple_of(size) && at + size <= end && !is_image(at, size);
        let (level, size) = if huge_pages && fits(HUGE_PAGE) {
            (2, HUGE_PAGE)
        } else if fits(LARGE_PAGE) {
            (1, LARGE_PAGE)
        } else {
            // Page by page to the end of this page table.
            // SAFETY: vouched for by the caller; the loop stays inside one table.
            unsafe {
                let mut slot = entry(root, direct(at), 0, true)?;
                let table_end = (at + 1).next_multiple_of(LARGE_PAGE).min(end);
                while at < table_end {
                    if !is_image(at, FRAME) {
                        *slot = at as u64 | Access::ReadWrite.bits();
                    }
                    slot = slot.add(1);
                    at += FRAME;
                }
            }
            continue;
        };
        // SAFETY: vouched for by the caller.
        unsafe {
            *entry(root, direct(at), level, true)? = at as u64 | Access::ReadWrite.bits() | LARGE
        };
        at += size;
    }
    Some(())
}

/// The end of what [`map_device`] reaches: the rest of the lower half of the address space.
const DEVICE_END: usize = (1 << 47) - DEVICE_MAP;

/// Maps the page of device registers at `physical`, uncached, and gives its address. `None` when
/// memory is short, or the address beyond reach.
pub fn map_device(physical: usize) -> Option<usize> {
    if physical >= DEVICE_END {
        return None;
    }
    let address = DEVICE_MAP + (physical & !(FRAME - 1));
    // SAFETY: the device region holds nothing else; a page is always mapped to the same frame.
    unsafe {
        let slot = entry(root(), address, 0, true)?;
        *slot =
            (physical & !(FRAME - 1)) as u64 | Access::ReadWrite.bits() | NO_CACHE | WRITE_THROUGH;
    }
    Some(address + (physical & (FRAME - 1)))
}
