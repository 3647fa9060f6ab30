//! Multiboot 1: what QEMU passes to the loader, and what the loader passes to the kernel.
//!
//! Offsets follow the Multiboot Specification 0.6.96, section 3.3.

use core::ops::Range;

use crate::elf::{u32_at, u64_at};
use crate::memory::Memory;
use crate::problem::Problem;

/// What a multiboot boot loader leaves in `eax`.
pub const MAGIC: u32 = 0x2bad_b002;

/// How many bytes of the boot information the loader reads.
pub const INFORMATION_SIZE: usize = 52;

const MEMORY: u32 = 1 << 0;
const COMMAND_LINE: u32 = 1 << 2;
const MODULES: u32 = 1 << 3;
const MEMORY_MAP: u32 = 1 << 6;

/// Memory map type: free.
pub const FREE: u32 = 1;
/// Memory map type of our own: what the loader occupies. The kernel may take it over.
pub const LOADER: u32 = 0x534b;
/// Memory map type of our own: an archive of the initial file tree, exactly as long as it is.
pub const ARCHIVE: u32 = 0x534c;

/// The bytes of a module's entry.
pub const MODULE_SIZE: u32 = 16;
/// The most modules: the image, and an archive of the initial file tree.
const MODULES_MOST: u32 = 2;

/// The parts of the boot information that the loader uses, as physical addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Information {
    /// Memory below 1 MiB in KiB.
    pub lower: u32,
    /// Memory from 1 MiB up to the first hole in KiB.
    pub upper: u32,
    /// Where the zero-terminated command line starts.
    pub command_line: Option<u32>,
    /// Where the memory map lies.
    pub map: Range<u32>,
    /// Where the entries that describe the modules lie.
    pub modules: Range<u32>,
}

impl Information {
    /// Reads the structure that a boot loader has left.
    pub fn parse(bytes: &[u8; INFORMATION_SIZE]) -> Result<Self, Problem> {
        let field = |offset| u32_at(bytes, offset).unwrap_or_default();
        let flags = field(0);
        if flags & MEMORY_MAP == 0 {
            return Err(Problem::BootInformation("it lacks a memory map"));
        }
        let map_end = field(48)
            .checked_add(field(44))
            .ok_or(Problem::BootInformation("its memory map lies outside of memory"))?;
        let modules = if flags & MODULES == 0 { 0 } else { field(20) };
        match modules {
            0 => return Err(Problem::NoImage),
            1..=MODULES_MOST => {}
            _ => return Err(Problem::ManyModules),
        }
        let modules_end = field(24)
            .checked_add(modules * MODULE_SIZE)
            .ok_or(Problem::BootInformation("its modules lie outside of memory"))?;
        Ok(Self {
            lower: if flags & MEMORY == 0 { 0 } else { field(4) },
            upper: if flags & MEMORY == 0 { 0 } else { field(8) },
            command_line: (flags & COMMAND_LINE != 0).then(|| field(16)),
            map: field(48)..map_end,
            modules: field(24)..modules_end,
        })
    }
}

/// The command line's address, read even from information that is otherwise unusable: it may name
/// the channel for messages.
pub fn command_line(bytes: &[u8; INFORMATION_SIZE]) -> Option<u32> {
    (u32_at(bytes, 0)? & COMMAND_LINE != 0).then_some(u32_at(bytes, 16)?)
}

/// The free memory in a memory map. Where entries overlap, a reserved one wins.
pub fn free_memory(map: &[u8]) -> Result<Memory, Problem> {
    let mut memory = Memory::new();
    for wanted in [true, false] {
        let mut rest = map;
        while !rest.is_empty() {
            let entry = Entry::read(rest)
                .ok_or(Problem::BootInformation("its memory map contradicts its size"))?;
            if (entry.kind == FREE) == wanted {
                if wanted {
                    memory.insert(entry.range.clone())?;
                } else {
                    memory.remove(entry.range.clone())?;
                }
            }
            rest = rest.get(entry.size..).unwrap_or_default();
        }
    }
    Ok(memory)
}

/// One entry of a memory map.
struct Entry {
    range: Range<u64>,
    kind: u32,
    /// Bytes to the next entry.
    size: usize,
}

impl Entry {
    fn read(bytes: &[u8]) -> Option<Self> {
        // The size does not count itself.
        let size = usize::try_from(u32_at(bytes, 0)?).ok()?.checked_add(4)?;
        let start = u64_at(bytes, 4)?;
        Some(Self {
            range: start..start.saturating_add(u64_at(bytes, 12)?),
            kind: u32_at(bytes, 20)?,
            size,
        })
        .filter(|entry| entry.size >= 24)
    }
}

/// One entry of the memory map for the kernel.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed(4))]
pub struct MapEntry {
    size: u32,
    address: u64,
    length: u64,
    kind: u32,
}

impl MapEntry {
    /// Fills a place that is not used yet.
    pub const EMPTY: Self = Self { size: 0, address: 0, length: 0, kind: 0 };

    fn new(range: &Range<u64>, kind: u32) -> Self {
        Self { size: 20, address: range.start, length: range.end - range.start, kind }
    }
}

/// The most entries that a map for the kernel can have: all pieces of two sets, and the archives.
pub const MAP_ENTRIES: usize = 130;

/// The multiboot information for the kernel, as long as the specification's longest form.
#[derive(Debug, Clone)]
#[repr(C, align(8))]
pub struct KernelInformation {
    flags: u32,
    lower: u32,
    upper: u32,
    unused_before: [u32; 8],
    map_length: u32,
    map_address: u32,
    unused_after: [u32; 19],
    map: [MapEntry; MAP_ENTRIES],
}

impl KernelInformation {
    /// Information without content.
    pub const EMPTY: Self = Self {
        flags: 0,
        lower: 0,
        upper: 0,
        unused_before: [0; 8],
        map_length: 0,
        map_address: 0,
        unused_after: [0; 19],
        map: [MapEntry::EMPTY; MAP_ENTRIES],
    };

    /// Where the map lies within the structure.
    pub const MAP_OFFSET: u32 = core::mem::offset_of!(Self, map) as u32;

    /// Fills the structure, which lies at physical address `address`, with a memory map of what
    /// is free, what is the loader's, and where the archives of the initial file tree are, the lowest
    /// layer first.
    pub fn fill(
        &mut self,
        address: u32,
        information: &Information,
        free: &Memory,
        loader: &Memory,
        archives: impl Iterator<Item = Range<u64>>,
    ) {
        // The archives first: what does not fit is left out.
        let entries = archives
            .map(|range| MapEntry::new(&range, ARCHIVE))
            .chain(free.ranges().map(|range| MapEntry::new(&range, FREE)))
            .chain(loader.ranges().map(|range| MapEntry::new(&range, LOADER)));
        self.map_length = 0;
        for (place, entry) in self.map.iter_mut().zip(entries) {
            *place = entry;
            self.map_length += size_of::<MapEntry>() as u32;
        }
        self.flags = MEMORY | MEMORY_MAP;
        self.lower = information.lower;
        self.upper = information.upper;
        self.map_address = address + Self::MAP_OFFSET;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn entry(start: u64, length: u64, kind: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(20u32.to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes
    }

    #[test]
    fn reserved_wins_over_free() {
        let map = [entry(0x8000, 0x1000, 2), entry(0, 0x9fc00, 1), entry(0x10_0000, 0x10_0000, 1)];
        let memory = free_memory(&map.concat()).unwrap();
        assert_eq!(
            memory.ranges().collect::<Vec<_>>(),
            [0..0x8000, 0x9000..0x9f000, 0x10_0000..0x20_0000]
        );
    }

    #[test]
    fn the_layout_is_the_specification_s() {
        assert_eq!(core::mem::offset_of!(KernelInformation, map_length), 44);
        assert_eq!(core::mem::offset_of!(KernelInformation, map_address), 48);
        assert_eq!(KernelInformation::MAP_OFFSET, 128);
        assert_eq!(size_of::<MapEntry>(), 24);
    }

    #[test]
    fn modules_are_counted() {
        let mut bytes = [0; INFORMATION_SIZE];
        bytes[0] = 0x48;
        assert_eq!(Information::parse(&bytes), Err(Problem::NoImage));
        bytes[20] = 3;
        assert_eq!(Information::parse(&bytes), Err(Problem::ManyModules));
        bytes[24] = 0x40;
        for count in 1..=2 {
            bytes[20] = count;
            let modules = Information::parse(&bytes).unwrap().modules;
            assert_eq!(modules, 0x40..0x40 + 16 * u32::from(count));
        }
        bytes[0] = 0x08;
        assert!(matches!(Information::parse(&bytes), Err(Problem::BootInformation(_))));
    }

    proptest! {
        #[test]
        fn any_map_is_read_or_refused(map in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = free_memory(&map);
        }

        #[test]
        fn any_information_is_read_or_refused(bytes in any::<[u8; INFORMATION_SIZE]>()) {
            let _ = Information::parse(&bytes);
        }
    }
}
