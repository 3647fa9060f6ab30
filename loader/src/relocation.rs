//! Relocations of an image that may be moved (a static position-independent executable).
//!
//! Kinds follow the System V ABI for x86-64, section 4.4.

use crate::elf::{part, u16_at, u32_at, u64_at};
use crate::image::Image;
use crate::problem::Problem;

const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_PLTRELSZ: u64 = 2;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELAENT: u64 = 9;
const DT_REL: u64 = 17;
const DT_RELR: u64 = 36;

const R_X86_64_64: u32 = 1;
const R_X86_64_GLOB_DAT: u32 = 6;
const R_X86_64_RELATIVE: u32 = 8;

const STB_WEAK: u8 = 2;
const SHN_UNDEF: u16 = 0;

/// Size of an `Elf64_Rela`, an `Elf64_Sym` and an `Elf64_Dyn`.
const RELA_SIZE: u64 = 24;
const SYMBOL_SIZE: u64 = 24;
const DYNAMIC_SIZE: usize = 16;

/// The checked relocations of an image; none by default.
#[derive(Debug, Default, Clone, Copy)]
pub struct Relocations<'a> {
    table: &'a [u8],
    symbols: &'a [u8],
}

impl<'a> Relocations<'a> {
    /// Reads the dynamic section `dynamic` and checks that each relocation is known and changes
    /// only the image's own memory.
    pub fn parse(dynamic: &[u8], image: &Image<'a>) -> Result<Self, Problem> {
        let (mut address, mut size, mut symbols) = (0, 0, None);
        for entry in dynamic.chunks_exact(DYNAMIC_SIZE) {
            let (Some(tag), Some(value)) = (u64_at(entry, 0), u64_at(entry, 8)) else {
                break;
            };
            match tag {
                DT_NULL => break,
                DT_NEEDED => return Err(Problem::Foreign("it needs shared libraries")),
                DT_RELA => address = value,
                DT_RELASZ => size = value,
                DT_SYMTAB => symbols = Some(value),
                DT_RELAENT if value != RELA_SIZE => {
                    return Err(Problem::Malformed("its relocations have an unknown size"));
                }
                DT_REL | DT_RELR => {
                    return Err(Problem::Foreign("its relocations have an unknown format"));
                }
                DT_PLTRELSZ if value != 0 => {
                    return Err(Problem::Foreign("it binds functions at run time"));
                }
                _ => {}
            }
        }
        if size == 0 {
            return Ok(Self::default());
        }
        let table = image
            .content_at(address)
            .and_then(|content| part(content, 0, size))
            .filter(|_| size % RELA_SIZE == 0)
            .ok_or(Problem::Malformed("its relocations break off"))?;
        let symbols = symbols.and_then(|symbols| image.content_at(symbols)).unwrap_or_default();
        let relocations = Self { table, symbols };
        for relocation in relocations.iter() {
            if !image.is_loaded(relocation.target, 8) {
                return Err(Problem::Malformed("a relocation lies outside of its memory"));
            }
            relocations.value(relocation, 0)?;
        }
        Ok(relocations)
    }

    fn iter(self) -> impl Iterator<Item = Relocation> {
        self.table.chunks_exact(RELA_SIZE as usize).filter_map(|bytes| {
            Some(Relocation {
                target: u64_at(bytes, 0)?,
                kind: u32_at(bytes, 8)?,
                symbol: u32_at(bytes, 12)?,
                addend: u64_at(bytes, 16)?,
            })
        })
    }

    /// What to store for `relocation` in an image that was moved by `base` bytes.
    fn value(self, relocation: Relocation, base: u64) -> Result<u64, Problem> {
        match relocation.kind {
            R_X86_64_RELATIVE => Ok(base.wrapping_add(relocation.addend)),
            R_X86_64_64 | R_X86_64_GLOB_DAT => {
                let offset = u64::from(relocation.symbol) * SYMBOL_SIZE;
                let (information, section, value) = part(self.symbols, offset, SYMBOL_SIZE)
                    .and_then(|symbol| {
                        Some((*symbol.get(4)?, u16_at(symbol, 6)?, u64_at(symbol, 8)?))
                    })
                    .ok_or(Problem::Malformed("a relocation's symbol does not exist"))?;
                if section != SHN_UNDEF {
                    Ok(base.wrapping_add(value).wrapping_add(relocation.addend))
                } else if information >> 4 == STB_WEAK {
                    Ok(relocation.addend)
                } else {
                    Err(Problem::Foreign("it refers to a symbol that it does not define"))
                }
            }
            kind => Err(Problem::Relocation(kind)),
        }
    }

    /// Applies the relocations to `memory`, whose first byte has the file's address `start`, for
    /// an image that was moved by `base` bytes.
    pub fn apply(self, memory: &mut [u8], start: u64, base: u64) -> Result<(), Problem> {
        for relocation in self.iter() {
            let value = self.value(relocation, base)?;
            relocation
                .target
                .checked_sub(start)
                .and_then(|offset| usize::try_from(offset).ok())
                .and_then(|offset| memory.get_mut(offset..)?.first_chunk_mut())
                .map(|target: &mut [u8; 8]| *target = value.to_le_bytes())
                .ok_or(Problem::Malformed("a relocation lies outside of its memory"))?;
        }
        Ok(())
    }
}

/// One entry with an explicit addend.
#[derive(Debug, Clone, Copy)]
struct Relocation {
    target: u64,
    kind: u32,
    symbol: u32,
    addend: u64,
}
