//! Message-signaled interrupts (PCI Local Bus Specification 3.0, 6.8.2).

use core::ptr::NonNull;

use pci_types::capability::{MsixCapability, PciCapability};

use super::{Function, Ports};

/// Bytes of an entry: address, data, control.
const ENTRY: u64 = 16;
const MASKED: u32 = 1;

/// A function's table of messages.
#[derive(Debug)]
pub struct Messages {
    capability: MsixCapability,
    table: NonNull<u8>,
    count: u16,
}

// SAFETY: a device's registers may be written by any processor.
unsafe impl Send for Messages {}

impl Messages {
    /// The table of a function, if it has one. `most`: how many entries are wanted at most.
    ///
    /// # Errors
    ///
    /// Why the table cannot be used.
    pub fn of(function: &Function, most: u16) -> Result<Option<Messages>, &'static str> {
        let capability = function.capabilities().find_map(|capability| match capability {
            PciCapability::MsiX(capability) => Some(capability),
            _ => None,
        });
        let Some(capability) = capability else {
            return Ok(None);
        };
        let count = capability.table_size().min(most);
        let table = function.map(
            capability.table_bar(),
            capability.table_offset().into(),
            u64::from(count) * ENTRY,
        )?;
        Ok(Some(Messages { capability, table, count }))
    }

    /// How many entries it has, at most as many as are wanted.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Sets an entry.
    pub fn set(&mut self, entry: u16, (address, data): (u64, u32)) {
        assert!(entry < self.count);
        // SAFETY: in the table, which is mapped for good; its entries are of aligned 32-bit numbers.
        unsafe {
            let entry = self.table.add(usize::from(entry) * ENTRY as usize).cast::<u32>();
            entry.add(3).write_volatile(MASKED);
            entry.write_volatile(address as u32);
            entry.add(1).write_volatile((address >> 32) as u32);
            entry.add(2).write_volatile(data);
            entry.add(3).write_volatile(0);
        }
    }

    /// Lets the function use the table in place of its line.
    pub fn enable(&mut self) {
        self.capability.set_function_mask(false, Ports);
        self.capability.set_enabled(true, Ports);
    }
}
