//! Where an image goes in physical memory.

use crate::image::{HIGHEST, Image, LOWEST, PAGE};
use crate::memory::Memory;
use crate::paging;
use crate::problem::Problem;

/// Memory below this stays free: the kernel starts other CPUs from there.
const FLOOR: u64 = 0x1_0000;

/// Where an image goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The frame of the image's first page.
    pub physical: u64,
    /// The first of the [tables](paging::tables) for an image at fixed addresses.
    pub tables: u64,
    /// What to add to the file's addresses: 0 for an image at fixed addresses.
    pub base: u64,
}

impl Placement {
    /// Finds the lowest place in `free` for `image`. Taking the lowest keeps small memories
    /// usable: there, only what lies below 640 KiB is in one piece.
    pub fn find(image: &Image<'_>, free: &Memory) -> Result<Self, Problem> {
        let pages = image.pages();
        let needed = pages.end - pages.start;
        let too_large = |needed| move |largest| Problem::TooLarge { needed, largest };
        if image.relocatable {
            // Mapped identically, above what the loader itself uses.
            let align = image.align;
            let skew = pages.start % align;
            let place = free.find(needed + skew, align, LOWEST..HIGHEST);
            let physical = place.map_err(too_large(needed))? + skew;
            return Ok(Self { physical, tables: 0, base: physical.wrapping_sub(pages.start) });
        }
        let mut free = free.clone();
        let physical = free.find(needed, PAGE, FLOOR..HIGHEST).map_err(too_large(needed))?;
        free.remove(physical..physical + needed)?;
        let size = paging::tables(&pages) * PAGE;
        let tables = free.find(size, PAGE, FLOOR..HIGHEST).map_err(too_large(size))?;
        Ok(Self { physical, tables, base: 0 })
    }
}
