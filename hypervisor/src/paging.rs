//! The guest's page tables of four levels, as the processor reads them (SDM volume 3, 4.5).

use vm_memory::{Bytes, GuestAddress};

use crate::memory::Memory;

/// Bytes of a page of the smallest size.
pub const PAGE: u64 = 4096;
const TOP: u32 = 3;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A range of virtual addresses, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Its first virtual address.
    pub start: u64,
    /// Its first physical address.
    pub physical: u64,
    /// Its bytes.
    pub length: u64,
}

/// What an entry of a table says.
enum Entry {
    Nothing,
    Table(u64),
    Memory(u64),
}

/// An entry of the table at a level; level 0 has those of the smallest pages. `None` when the table is not in
/// the guest's memory.
fn entry(memory: &Memory, table: u64, level: u32, number: u64) -> Option<Entry> {
    let address = GuestAddress((table & ADDRESS) + 8 * number);
    let entry = memory.map().read_obj::<u64>(address).ok()?;
    Some(match entry {
        entry if entry & PRESENT == 0 => Entry::Nothing,
        entry if level == TOP || level > 0 && entry & LARGE == 0 => Entry::Table(entry),
        entry => Entry::Memory(entry & ADDRESS & !(size(level) - 1)),
    })
}

/// The bytes that an entry of a level maps.
const fn size(level: u32) -> u64 {
    PAGE << (9 * level)
}

/// The physical address that a virtual one stands for, by the tables at `root`.
pub fn translate(memory: &Memory, root: u64, address: u64) -> Option<u64> {
    let mut table = root;
    for level in (0..=TOP).rev() {
        match entry(memory, table, level, address / size(level) % 512)? {
            Entry::Nothing => return None,
            Entry::Table(next) => table = next,
            Entry::Memory(start) => return Some(start + address % size(level)),
        }
    }
    None
}

/// The ranges of the guest's memory that the tables at `root` map, in ascending order, and no more than `most`.
pub fn ranges(memory: &Memory, root: u64, most: usize) -> Vec<Range> {
    let mut found = Vec::new();
    walk(memory, (root, TOP), 0, most, &mut found);
    found
}

fn walk(memory: &Memory, table: (u64, u32), base: u64, most: usize, found: &mut Vec<Range>) {
    let (table, level) = table;
    let length = size(level);
    for number in 0..512 {
        let Some(entry) = entry(memory, table, level, number) else {
            return;
        };
        let start = base + number * length;
        match entry {
            _ if found.len() >= most => return,
            Entry::Table(next) => walk(memory, (next, level - 1), start, most, found),
            Entry::Memory(physical) if memory.contains(physical, length) => {
                // Higher half: the sign is copied upwards.
                let start = ((start << 16) as i64 >> 16) as u64;
                match found.last_mut() {
                    Some(last)
                        if last.start + last.length == start
                            && last.physical + last.length == physical =>
                    {
                        last.length += length;
                    }
                    _ => found.push(Range { start, physical, length }),
                }
            }
            Entry::Nothing | Entry::Memory(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;

    #[test]
    fn mapped_ranges_are_found() -> Result<()> {
        let memory = Memory::new(4 << 20, false)?;
        let entry = |table: u64, number: u64, value: u64| {
            memory.write(&value.to_le_bytes(), table + 8 * number)
        };
        // 0x1000: level 4, 0x2000: level 3, 0x3000: level 2, 0x4000: level 1.
        entry(0x1000, 128, 0x2003)?;
        entry(0x2000, 0, 0x3003)?;
        entry(0x3000, 0, 0x83)?;
        entry(0x3000, 1, 0x4003)?;
        entry(0x4000, 0, 0x20_0003)?;
        entry(0x4000, 1, 0x20_1003)?;
        entry(0x4000, 5, 0x20_0003)?;
        // Not the guest's memory.
        entry(0x4000, 6, 0x7000_0003)?;
        let base = 0x4000_0000_0000;
        let expected = [
            Range { start: base, physical: 0, length: 0x20_2000 },
            Range { start: base + 0x20_5000, physical: 0x20_0000, length: 0x1000 },
        ];
        assert_eq!(ranges(&memory, 0x1000, 100), expected);
        assert_eq!(ranges(&memory, 0x1000, 1).len(), 1);
        for (address, physical) in [
            (base, Some(0)),
            (base + 0x1f_fffe, Some(0x1f_fffe)),
            (base + 0x20_1123, Some(0x20_1123)),
            (base + 0x20_5fff, Some(0x20_0fff)),
            (base + 0x20_4000, None),
            (base + 0x20_6000, Some(0x7000_0000)),
            (0, None),
        ] {
            assert_eq!(translate(&memory, 0x1000, address), physical, "{address:#x}");
        }
        assert_eq!(translate(&memory, 1 << 40, base), None);
        Ok(())
    }
}
