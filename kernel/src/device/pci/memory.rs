//! Addresses for what firmware has given none.

use pci_types::{MAX_BARS, PciHeader};

use super::{Function, Ports, functions};
use crate::debug::{Level, Line};

/// Where there is neither memory nor anything else of a PC, but for what other functions have.
const WINDOW: core::ops::Range<u64> = 0xf800_0000..0xfe80_0000;

/// Regions of memory that functions answer at.
fn taken() -> alloc::vec::Vec<(u64, u64)> {
    let mut taken = alloc::vec::Vec::new();
    for function in functions() {
        let mut slot = 0;
        while usize::from(slot) < MAX_BARS {
            if let Some((base, size)) = function.memory_bar(slot) {
                taken.push((base, base.saturating_add(size)));
            }
            // The second half of one with 64 bits looks like one that is not there, or like an address, which
            // does no harm.
            slot += 1;
        }
    }
    taken
}

/// Gives a base address register of `size` bytes an address, and tells it.
pub fn place(function: &Function, slot: u8, size: u64) -> Result<u64, &'static str> {
    if function.address.bus() != 0 {
        return Err(
            "firmware has given its registers no usable address, and it is behind a bridge",
        );
    }
    let taken = taken();
    let mut base = (WINDOW.end - size.min(WINDOW.end)) & !(size - 1);
    loop {
        if base < WINDOW.start {
            return Err(
                "firmware has given its registers no usable address, and no room is left for them",
            );
        }
        let in_the_way = taken
            .iter()
            .filter(|(start, end)| *start < base + size && base < *end)
            .map(|(start, _)| *start)
            .min();
        match in_the_way {
            None => break,
            Some(start) => base = start.saturating_sub(size) & !(size - 1),
        }
    }
    let header = PciHeader::new(function.address);
    let command = header.command(Ports);
    // SAFETY: nothing else answers at the address, which is a multiple of the size. Nobody uses the function.
    let written = unsafe {
        let mut header = function.header();
        header
            .update_command(Ports, |command| command & !pci_types::CommandRegister::MEMORY_ENABLE);
        let written = header.write_bar(slot, Ports, base as usize);
        header.update_command(Ports, |_| command);
        written
    };
    written.map_err(|_| "its registers cannot be given an address")?;
    Line::log(Level::Info, |line| {
        function.describe(line);
        line.text(": its region ").number(slot.into()).text(" is given the address ").hex(base);
    });
    Ok(base)
}
