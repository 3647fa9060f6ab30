//! The names of the guest's functions, from the symbol table of its image.

use memmap2::Mmap;
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSymbol as _};
use rustc_demangle::demangle;

/// An image's file, and by how much its addresses were moved.
pub struct Symbols {
    /// The file.
    pub bytes: Mmap,
    /// What to add to an address in it.
    pub base: u64,
}

impl Symbols {
    fn file(&self) -> Option<ElfFile64<'_>> {
        ElfFile64::parse(&*self.bytes).ok()
    }

    /// Where a function is.
    pub fn address(&self, name: &str) -> Option<u64> {
        Some(self.file()?.symbol_by_name(name)?.address() + self.base)
    }

    /// The function that an address is in, and how far behind its beginning.
    pub fn name(&self, address: u64) -> Option<String> {
        let file = self.file()?;
        let behind = |start: u64| address.wrapping_sub(self.base).wrapping_sub(start);
        let symbol = file.symbols().find(|symbol| behind(symbol.address()) < symbol.size())?;
        Some(format!("{:#}+{:#x}", demangle(symbol.name().ok()?), behind(symbol.address())))
    }
}
