//! PCI: its functions, where their registers are, and their interrupts (PCI Local Bus Specification 3.0).

mod memory;
mod msix;

use alloc::vec::Vec;
use core::ptr::NonNull;

pub use msix::Messages;
use pci_types::capability::{CapabilityIterator, PciCapability};
use pci_types::{
    Bar, CommandRegister, ConfigRegionAccess, EndpointHeader, HeaderType, MAX_BARS, PciAddress,
    PciHeader, PciPciBridgeHeader,
};

use crate::arch::ioapic::Line;
use crate::arch::{paging, pci};
use crate::debug;
use crate::mm::blocks::FRAME;

/// Configuration space, by I/O ports: the first 256 bytes of each function of segment 0.
#[derive(Clone, Copy, Debug)]
pub struct Ports;

fn number(address: PciAddress) -> u16 {
    u16::from(address.bus()) << 8 | u16::from(address.device()) << 3 | u16::from(address.function())
}

impl ConfigRegionAccess for Ports {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        pci::read(number(address), offset)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        // SAFETY: vouched for by the caller.
        unsafe { pci::write(number(address), offset, value) }
    }
}

/// A function that is no bridge.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    address: PciAddress,
}

/// Capabilities that a function may have: more are a list that leads back into itself.
const MOST_CAPABILITIES: usize = 48;

impl Function {
    fn header(&self) -> EndpointHeader {
        // Checked when it was found.
        EndpointHeader::from_header(PciHeader::new(self.address), Ports)
            .unwrap_or_else(|| unreachable!("a function that is no bridge"))
    }

    /// Vendor and device.
    #[must_use]
    pub fn id(&self) -> (u16, u16) {
        PciHeader::new(self.address).id(Ports)
    }

    /// The subsystem's number.
    #[must_use]
    pub fn subsystem(&self) -> u16 {
        self.header().subsystem(Ports).0
    }

    /// Adds what the function is called in messages: bus, device and function.
    pub fn describe(&self, line: &mut debug::Line) {
        line.text("PCI device ");
        for (number, end) in [(self.address.bus(), ":"), (self.address.device(), ".")] {
            for digit in [number >> 4, number & 15] {
                line.bytes(&[b"0123456789abcdef"[usize::from(digit)]]);
            }
            line.text(end);
        }
        line.number(self.address.function().into());
    }

    /// Its capabilities.
    pub fn capabilities(&self) -> impl Iterator<Item = PciCapability> + use<> {
        let list: CapabilityIterator<Ports> = self.header().capabilities(Ports);
        list.take(MOST_CAPABILITIES)
    }

    /// Lets the function answer at its addresses, and read and write memory.
    pub fn enable(&self) {
        self.header().update_command(Ports, |command| {
            (command | CommandRegister::MEMORY_ENABLE | CommandRegister::BUS_MASTER_ENABLE)
                & !CommandRegister::INTERRUPT_DISABLE
        });
    }

    /// A base address register, if it is one for memory: its address and its size.
    fn memory_bar(&self, slot: u8) -> Option<(u64, u64)> {
        // SAFETY: reads a register.
        let low = unsafe { Ports.read(self.address, 0x10 + 4 * u16::from(slot)) };
        // Neither ports nor one of the types that there are no more.
        if low & 1 != 0 || matches!(low >> 1 & 3, 1 | 3) {
            return None;
        }
        match self.header().bar(slot, Ports)? {
            Bar::Memory32 { address, size, .. } => Some((address.into(), size.into())),
            Bar::Memory64 { address, size, .. } => Some((address, size)),
            Bar::Io { .. } => None,
        }
    }

    /// Maps `length` bytes at `offset` of what a base address register stands for. Firmware that has given it no
    /// address, or one that cannot be reached, gets help.
    ///
    /// # Errors
    ///
    /// Why it cannot be mapped.
    pub fn map(&self, slot: u8, offset: u64, length: u64) -> Result<NonNull<u8>, &'static str> {
        if usize::from(slot) >= MAX_BARS {
            return Err("its registers are in a region that there is not");
        }
        let (mut base, size) = self.memory_bar(slot).ok_or("its registers are not in memory")?;
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err("its registers are outside of its region");
        }
        let mapped = |base: u64| map_range(base + offset, length);
        if base == 0 || mapped(base).is_none() {
            base = memory::place(self, slot, size)?;
        }
        mapped(base).ok_or("memory is short for the page tables of its registers")
    }

    /// The interrupt line that firmware says it is wired to.
    #[must_use]
    pub fn line(&self) -> Option<Line> {
        let (pin, line) = self.header().interrupt(Ports);
        (pin != 0 && line != 0 && line != 0xff).then(|| Line::of_pci(line))
    }
}

/// Maps device registers.
fn map_range(physical: u64, length: u64) -> Option<NonNull<u8>> {
    let start = usize::try_from(physical).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    let first = paging::map_device(start)?;
    for page in ((start & !(FRAME - 1)) + FRAME..end).step_by(FRAME) {
        paging::map_device(page)?;
    }
    NonNull::new(first as *mut u8)
}

/// Every function that is no bridge, bus by bus.
#[must_use]
pub fn functions() -> Vec<Function> {
    let mut found = Vec::new();
    let mut buses = Vec::from([0]);
    let mut next = 0;
    while let Some(&bus) = buses.get(next) {
        next += 1;
        for device in 0..32 {
            let first = PciHeader::new(PciAddress::new(0, bus, device, 0));
            if first.id(Ports).0 == 0xffff {
                continue;
            }
            let count = if first.has_multiple_functions(Ports) { 8 } else { 1 };
            for function in 0..count {
                let address = PciAddress::new(0, bus, device, function);
                let header = PciHeader::new(address);
                if header.id(Ports).0 == 0xffff {
                    continue;
                }
                match header.header_type(Ports) {
                    HeaderType::Endpoint => found.push(Function { address }),
                    HeaderType::PciPciBridge => {
                        let behind = PciPciBridgeHeader::from_header(header, Ports)
                            .map_or(0, |bridge| bridge.secondary_bus_number(Ports));
                        // 0 where firmware has left it out.
                        if !buses.contains(&behind) {
                            buses.push(behind);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    found
}
