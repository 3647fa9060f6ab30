//! PCI's configuration space by I/O ports (PCI Local Bus Specification 3.0, 3.2.2.3.2), and what message-signaled
//! interrupts say (SDM volume 3, 11.11).

use x86_64::instructions::port::Port;

use super::{apic, local};
use crate::sync::Lock;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// Selecting a register and using it belong together.
static PORTS: Lock<()> = Lock::new(());

/// A function, as bits 8 to 23 of the address port have it: bus, device, function.
fn select(function: u16, offset: u16) {
    let address = ENABLE | u32::from(function) << 8 | u32::from(offset & 0xfc);
    // SAFETY: the address port of PCI; where there is no PCI, the write goes nowhere.
    unsafe { Port::new(ADDRESS).write(address) };
}

/// Reads the 32-bit register at `offset` below 256 of a function: all ones where there is none.
#[must_use]
pub fn read(function: u16, offset: u16) -> u32 {
    let _exclusive = PORTS.lock();
    select(function, offset);
    // SAFETY: reading a configuration register has no effect.
    unsafe { Port::new(DATA).read() }
}

/// Writes the 32-bit register at `offset` below 256 of a function.
///
/// # Safety
///
/// What the function does then must be harmless to memory that is not meant for it.
pub unsafe fn write(function: u16, offset: u16, value: u32) {
    let _exclusive = PORTS.lock();
    select(function, offset);
    // SAFETY: vouched for by the caller.
    unsafe { Port::new(DATA).write(value) };
}

/// True when the machine answers at the ports.
#[must_use]
pub fn is_there() -> bool {
    let _exclusive = PORTS.lock();
    select(0, 0);
    // SAFETY: reading back what was selected, and the vendor of the first function.
    unsafe {
        Port::<u32>::new(ADDRESS).read() == ENABLE && Port::<u32>::new(DATA).read() as u16 != 0xffff
    }
}

/// What a device writes, and where, to interrupt a processor: the one with this number when it runs, else the
/// one that asks.
#[must_use]
pub fn message(processor: u32, vector: u8) -> (u64, u32) {
    apic::init();
    let id = local::get(processor)
        // The first processor's is noted only when others start, and an address has room for 8 bits.
        .filter(|local| local::online() > 1 && local.apic.get() < 0xff)
        .map_or_else(apic::own_id, |local| local.apic.get());
    (0xfee0_0000 | u64::from(id & 0xff) << 12, vector.into())
}
