//! What the firmware's tables tell of processors and interrupts (ACPI specification 6.5, 5.2).

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::paging;
use crate::mm::blocks::FRAME;

const HEADER: usize = 36;
/// Of the MADT, before its entries: the header, the local APIC's address, flags.
const MADT_HEADER: usize = HEADER + 8;
const LOCAL_APIC: u8 = 0;
const IO_APIC: u8 = 1;
const SOURCE_OVERRIDE: u8 = 2;
const LOCAL_X2APIC: u8 = 9;
const ENABLED: u32 = 1;
/// No table is longer; a length above is no length.
const LONGEST: usize = 1 << 20;

/// Where the firmware puts the root pointer: the read-only memory of the BIOS, and the first KiB of the
/// extended BIOS data area (5.2.5.1).
const BIOS: core::ops::Range<usize> = 0xe_0000..0x10_0000;
const EXTENDED_DATA_SEGMENT: usize = 0x40e;

/// Firmware's memory, by physical addresses; a page is mapped when it is first read.
#[derive(Default)]
struct Memory {
    page: usize,
    mapped: usize,
}

impl Memory {
    fn byte(&mut self, address: usize) -> Option<u8> {
        let page = address & !(FRAME - 1);
        if self.mapped == 0 || page != self.page {
            self.mapped = paging::map_device(page)?;
            self.page = page;
        }
        let byte = (self.mapped + address % FRAME) as *const u8;
        // SAFETY: mapped just now; reading firmware's tables has no effect.
        Some(unsafe { byte.read_volatile() })
    }

    fn bytes<const N: usize>(&mut self, address: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        for (offset, byte) in bytes.iter_mut().enumerate() {
            *byte = self.byte(address.checked_add(offset)?)?;
        }
        Some(bytes)
    }

    fn u32(&mut self, address: usize) -> Option<u32> {
        self.bytes(address).map(u32::from_le_bytes)
    }

    fn sum(&mut self, start: usize, length: usize) -> Option<u8> {
        (start..start.checked_add(length)?)
            .try_fold(0u8, |sum, address| Some(sum.wrapping_add(self.byte(address)?)))
    }

    /// The root pointer structure, which is at a multiple of 16.
    fn root_pointer(&mut self) -> Option<usize> {
        let data = usize::from(u16::from_le_bytes(self.bytes(EXTENDED_DATA_SEGMENT)?)) << 4;
        let data = if (0x400..0xa_0000).contains(&data) { data..data + 1024 } else { 0..0 };
        [data, BIOS].into_iter().find_map(|range| self.root_pointer_in(range))
    }

    /// The root pointer structure in a range that starts at a multiple of 16.
    fn root_pointer_in(&mut self, range: core::ops::Range<usize>) -> Option<usize> {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min((start + 1).next_multiple_of(FRAME));
            let mapped = paging::map_device(start)?;
            for offset in (0..end - start).step_by(16) {
                // SAFETY: in the page that was mapped just now; reading firmware's memory has no effect.
                let signature = unsafe { ((mapped + offset) as *const u64).read_volatile() };
                if signature == u64::from_le_bytes(*b"RSD PTR ")
                    && self.sum(start + offset, 20) == Some(0)
                {
                    return Some(start + offset);
                }
            }
            start = end;
        }
        None
    }

    /// A table with this signature, and its length.
    fn table(&mut self, signature: [u8; 4]) -> Option<(usize, usize)> {
        let pointer = self.root_pointer()?;
        let (root, width) = match self.byte(pointer + 15)? {
            0 => (self.u32(pointer + 16)? as usize, 4),
            _ => (u64::from_le_bytes(self.bytes(pointer + 24)?) as usize, 8),
        };
        let end = root.checked_add(self.length(root)?)?;
        (root + HEADER..end).step_by(width).find_map(|entry| {
            let address = match width {
                4 => self.u32(entry)? as usize,
                _ => u64::from_le_bytes(self.bytes(entry)?) as usize,
            };
            let length = self.length(address)?;
            let found = self.bytes(address)? == signature && self.sum(address, length)? == 0;
            found.then_some((address, length))
        })
    }

    fn length(&mut self, table: usize) -> Option<usize> {
        let length = self.u32(table.checked_add(4)?)? as usize;
        (HEADER..LONGEST).contains(&length).then_some(length)
    }
}

/// Where the multiple APIC description table is: 0 until it was looked for, [`MISSING`] without one.
static MADT: AtomicUsize = AtomicUsize::new(0);
const MISSING: usize = 1;

/// Shows each entry of the multiple APIC description table, by its kind and address. `None` without the
/// table, or when `visit` gives it.
fn entries(mut visit: impl FnMut(&mut Memory, u8, usize) -> Option<()>) -> Option<()> {
    let mut memory = Memory::default();
    let table = match MADT.load(Relaxed) {
        MISSING => return None,
        0 => {
            let found = memory.table(*b"APIC");
            MADT.store(found.map_or(MISSING, |(table, _)| table), Relaxed);
            found?.0
        }
        table => table,
    };
    let (mut at, end) = (table + MADT_HEADER, table + memory.length(table)?);
    while at + 2 <= end {
        let [kind, length] = memory.bytes(at)?;
        visit(&mut memory, kind, at)?;
        at += usize::from(length.max(2));
    }
    Some(())
}

/// Processors that the multiple APIC description table has as enabled. `None` without the table.
pub fn processors() -> Option<u32> {
    let mut count = 0;
    entries(|memory, kind, at| {
        let flags = match kind {
            LOCAL_APIC => memory.u32(at + 4)?,
            LOCAL_X2APIC => memory.u32(at + 8)?,
            _ => 0,
        };
        count += flags & ENABLED;
        Some(())
    })?;
    (count > 0).then_some(count)
}

/// The I/O APICs: the address of each, and the number of its first line (5.2.12.3). `None` without the table.
pub fn io_apics() -> Option<Vec<(usize, u32)>> {
    let mut found = Vec::new();
    entries(|memory, kind, at| {
        if kind == IO_APIC {
            found.push((memory.u32(at + 4)? as usize, memory.u32(at + 8)?));
        }
        Some(())
    })?;
    Some(found)
}

/// The line of the I/O APICs that an ISA interrupt is wired to, and the flags that tell how, if the table has
/// an entry about it (5.2.12.5).
pub fn isa_override(interrupt: u8) -> Option<(u32, u16)> {
    let mut found = None;
    entries(|memory, kind, at| {
        if kind == SOURCE_OVERRIDE && memory.byte(at + 3)? == interrupt {
            found = Some((memory.u32(at + 4)?, u16::from_le_bytes(memory.bytes(at + 8)?)));
        }
        Some(())
    })?;
    found
}
