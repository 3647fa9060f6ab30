//! The I/O APICs: which interrupt line goes to which vector of which processor (82093AA data sheet).

use super::{acpi, apic, paging};
use crate::sync::Lock;

/// Where every PC has its first I/O APIC.
const FIRST: usize = 0xfec0_0000;
const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
const VERSION: u32 = 0x01;
const REDIRECTION: u32 = 0x10;

const ACTIVE_LOW: u32 = 1 << 13;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

/// An interrupt line, by its number among those of all I/O APICs, and how it tells of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Global system interrupt number.
    pub number: u32,
    /// It stays active until the device is satisfied; otherwise the change counts.
    pub level: bool,
    /// Active means low.
    pub low: bool,
}

impl Line {
    /// The line of an ISA interrupt that a PCI function is wired to, as firmware has noted it in the function's
    /// configuration space. Unless ACPI says otherwise it behaves as PCI's do: level, active low.
    #[must_use]
    pub fn of_pci(interrupt: u8) -> Line {
        let (number, flags) = acpi::isa_override(interrupt).unwrap_or((interrupt.into(), 0));
        // ACPI specification, 5.2.12.5: bits 0 and 1 are the polarity, bits 2 and 3 the trigger mode.
        Line { number, level: flags >> 2 & 3 != 1, low: flags & 3 != 1 }
    }
}

/// Selecting a register and using it belong together.
static REGISTERS: Lock<()> = Lock::new(());

/// Routes the line `pin` of the I/O APIC at `address` with these settings. `false` when there is none.
fn redirect(address: usize, pin: u32, low: u32, destination: u32) -> bool {
    let Some(page) = paging::map_device(address) else {
        return false;
    };
    let select = (page + SELECT) as *mut u32;
    let window = (page + WINDOW) as *mut u32;
    let _exclusive = REGISTERS.lock();
    // SAFETY: the registers of the I/O APIC, mapped as device memory, under the lock.
    unsafe {
        select.write_volatile(VERSION);
        let version = window.read_volatile();
        if version == 0 || version == u32::MAX || pin > version >> 16 & 0xff {
            return false;
        }
        // Masked while the two halves do not belong together.
        select.write_volatile(REDIRECTION + 2 * pin);
        window.write_volatile(MASKED);
        select.write_volatile(REDIRECTION + 2 * pin + 1);
        window.write_volatile(destination << 24);
        select.write_volatile(REDIRECTION + 2 * pin);
        window.write_volatile(low);
    }
    true
}

/// Routes a line of the first I/O APIC to a vector of this processor: edge-triggered, active high, as ISA
/// devices want it. `false` when there is no I/O APIC with that line.
pub fn route_isa(line: u32, vector: u8) -> bool {
    apic::init();
    redirect(FIRST, line, vector.into(), apic::own_id())
}

/// The I/O APIC that has this line: its address, and the line's number there.
fn controller(line: u32) -> (usize, u32) {
    acpi::io_apics()
        .unwrap_or_default()
        .into_iter()
        .filter(|(_, first)| *first <= line)
        .max_by_key(|(_, first)| *first)
        .map_or((FIRST, line), |(address, first)| (address, line - first))
}

/// Routes a line to a vector of this processor. `false` when there is no I/O APIC with that line.
pub fn route(line: Line, vector: u8) -> bool {
    apic::init();
    let mut low = u32::from(vector);
    low |= if line.level { LEVEL } else { 0 };
    low |= if line.low { ACTIVE_LOW } else { 0 };
    let (address, pin) = controller(line.number);
    redirect(address, pin, low, apic::own_id())
}

/// Lets a line interrupt nobody any more.
pub fn mask(line: u32) {
    let (address, pin) = controller(line);
    redirect(address, pin, MASKED, 0);
}
