//! Page tables of an image at fixed addresses.

use core::ops::Range;

use crate::image::PAGE;

/// Entries of one table.
pub const ENTRIES: usize = 512;
/// What one table with 4 KiB pages covers.
pub const REACH: u64 = PAGE * ENTRIES as u64;

/// Entry flags: present and writable.
const PRESENT_WRITABLE: u64 = 0b11;

/// How many tables the pages `pages` need.
pub fn tables(pages: &Range<u64>) -> u64 {
    pages.end.div_ceil(REACH) - pages.start / REACH
}

/// The entry that points to a table or a 4 KiB frame at `physical`.
pub fn entry(physical: u64) -> u64 {
    physical | PRESENT_WRITABLE
}

/// The entries of the table for the 2 MiB that start at `base`: the image's `pages` are at
/// `physical` and following, all other addresses are mapped identically.
pub fn entries(base: u64, pages: Range<u64>, physical: u64) -> impl Iterator<Item = u64> {
    (base..base + REACH).step_by(PAGE as usize).map(move |address| {
        entry(if pages.contains(&address) { physical + (address - pages.start) } else { address })
    })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    #[test]
    fn images_need_a_table_for_every_2_mib_they_touch() {
        assert_eq!(tables(&(0x20_0000..0x20_1000)), 1);
        assert_eq!(tables(&(0x20_0000..0x40_0000)), 1);
        assert_eq!(tables(&(0x3f_f000..0x40_1000)), 2);
    }

    #[test]
    fn the_image_shadows_only_its_own_pages() {
        let entries: Vec<_> = entries(0x20_0000, 0x20_1000..0x20_3000, 0x1_0000).collect();
        assert_eq!(entries.len(), ENTRIES);
        assert_eq!(entries[..4], [0x20_0003, 0x1_0003, 0x1_1003, 0x20_3003]);
    }
}
