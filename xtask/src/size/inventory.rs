//! All bytes of an image as named pieces.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::elf::{SHF_ALLOC, SHF_EXECINSTR, SHF_TLS, SHF_WRITE, SHT_NOBITS};
use object::read::elf::{ElfFile64, SectionHeader as _};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::rooms;

/// What a section's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Machine code.
    Code,
    /// Data that is never written.
    Constants,
    /// Data with initial content.
    Data,
    /// Data that starts as zeros and is not in the file.
    Zeros,
}

/// A section that is loaded.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Its first address.
    pub start: u64,
    /// The address behind its last one.
    pub end: u64,
    /// What it holds.
    pub store: Store,
    /// Its bytes; none for zeros.
    pub content: Vec<u8>,
}

/// A function, a static, or bytes between them.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Its first address.
    pub start: u64,
    /// The address behind its last one.
    pub end: u64,
    /// Its demangled path; none for what the compiler gave no name, such as texts.
    pub name: Option<String>,
    /// The room it belongs to.
    pub room: String,
    /// Which of the image's sections it lies in.
    section: usize,
}

impl Piece {
    /// How long it is, in bytes.
    pub fn size(&self) -> u64 {
        self.end - self.start
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => out.write_str(name),
            None => write!(out, "unnamed data at {:#x}", self.start),
        }
    }
}

/// The room of bytes that nothing refers to: between functions, and in tables.
const UNNAMED: &str = "(unnamed)";

/// All pieces of an image.
#[derive(Debug)]
pub struct Inventory {
    /// The sections that are loaded, by address.
    pub sections: Vec<Section>,
    /// Every byte of the sections, by address.
    pub pieces: Vec<Piece>,
    /// Where execution starts.
    pub entry: u64,
    /// Every name of a piece's start, as the linker knows it.
    names: Vec<(String, u64)>,
}

impl Inventory {
    /// Reads an image that has its symbols. Symbols that `kernel` has too are the kernel's.
    pub fn read(image: &Path, kernel: Option<&Path>) -> Result<Self> {
        let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
        let file = ElfFile64::<Endianness>::parse(&*bytes)
            .ok()
            .filter(|file| {
                file.elf_header().e_machine.get(Endianness::Little) == object::elf::EM_X86_64
            })
            .with_context(|| format!("{} is not an image", image.display()))?;
        let kernel = kernel.map(symbol_names).transpose()?.unwrap_or_default();
        let mut inventory = Self {
            sections: sections(&file)?,
            pieces: Vec::new(),
            entry: file.entry(),
            names: Vec::new(),
        };
        let mut symbols: Vec<_> = file
            .symbols()
            .filter(|symbol| {
                let known = matches!(
                    symbol.kind(),
                    SymbolKind::Text | SymbolKind::Data | SymbolKind::Unknown
                );
                known && symbol.is_definition()
            })
            .filter_map(|symbol| Some((symbol.address(), symbol.size(), symbol.name().ok()?)))
            .filter(|(_, size, name)| *size > 0 || *name == "_start")
            .collect();
        if symbols.is_empty() {
            bail!(
                "{} has no symbols: pass the image as `cargo xtask build` makes it, not stripped",
                image.display()
            );
        }
        symbols.sort_by_key(|(start, size, _)| (*start, std::cmp::Reverse(*size)));
        let mut end = 0;
        for (start, size, name) in symbols {
            let Some(section) = inventory.section_at(start) else {
                continue;
            };
            inventory.names.push((name.to_owned(), start));
            if start < end || size == 0 {
                // Another name of the same bytes.
                continue;
            }
            end = (start + size).min(inventory.sections[section].end);
            let path = format!("{:#}", rustc_demangle::demangle(name));
            let room = rooms::room(&path, kernel.contains(name));
            inventory.pieces.push(Piece { start, end, name: Some(path), room, section });
        }
        inventory.fill(&BTreeSet::new());
        Ok(inventory)
    }

    /// An inventory of sections that start with named pieces, for tests.
    #[cfg(test)]
    pub fn from_parts<'a>(
        sections: Vec<Section>,
        names: impl IntoIterator<Item = (&'a str, std::ops::Range<u64>)>,
    ) -> Self {
        let mut inventory = Self { sections, pieces: Vec::new(), entry: 0, names: Vec::new() };
        for (name, range) in names {
            let section = inventory.section_at(range.start).expect("the piece lies in a section");
            let room = format!("room of {name}");
            let (start, end) = (range.start, range.end);
            inventory.pieces.push(Piece { start, end, name: Some(name.to_owned()), room, section });
        }
        inventory.fill(&BTreeSet::new());
        inventory
    }

    /// The functions.
    pub fn code(&self) -> impl Iterator<Item = &Piece> {
        self.pieces
            .iter()
            .filter(|piece| piece.name.is_some() && self.section(piece).store == Store::Code)
    }

    /// The section that a piece lies in.
    pub fn section(&self, piece: &Piece) -> &Section {
        &self.sections[piece.section]
    }

    /// The bytes of a piece; none for zeros.
    pub fn content(&self, piece: &Piece) -> &[u8] {
        let section = self.section(piece);
        let start = (piece.start - section.start) as usize;
        let end = (piece.end - section.start) as usize;
        section.content.get(start..end).unwrap_or_default()
    }

    /// The piece that an address lies in.
    pub fn at(&self, address: u64) -> Option<usize> {
        let index = self.pieces.partition_point(|piece| piece.start <= address).checked_sub(1)?;
        (address < self.pieces[index].end).then_some(index)
    }

    /// The pieces with a name: exactly it if there is such a one, else those whose path ends with
    /// it, else those whose path has it somewhere.
    pub fn named(&self, name: &str) -> Vec<usize> {
        let exact =
            self.names.iter().filter(|(known, _)| known == name).map(|(_, address)| *address);
        let exact: BTreeSet<usize> = exact.filter_map(|address| self.at(address)).collect();
        let paths = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let pieces = self.pieces.iter().enumerate();
            pieces
                .filter(|(_, piece)| piece.name.as_deref().is_some_and(fits))
                .map(|(index, _)| index)
                .collect()
        };
        let tail = format!("::{name}");
        let mut found: Vec<usize> = exact.into_iter().collect();
        let fits: [&dyn Fn(&str) -> bool; 3] =
            [&|path| path == name, &|path| path.ends_with(&tail), &|path| path.contains(name)];
        for fits in fits {
            if found.is_empty() {
                found = paths(fits);
            }
        }
        found
    }

    /// Cuts what has no name at `borders`, the addresses that something refers to.
    pub fn fill(&mut self, borders: &BTreeSet<u64>) {
        let named: Vec<Piece> =
            self.pieces.drain(..).filter(|piece| piece.name.is_some()).collect();
        let mut named = named.into_iter().peekable();
        for (index, section) in self.sections.iter().enumerate() {
            let mut start = section.start;
            while start < section.end {
                let next = named.peek().map_or(section.end, |piece| piece.start).min(section.end);
                if start == next {
                    // Symbols lie in sections, so there is one here.
                    let Some(piece) = named.next() else { break };
                    start = piece.end;
                    self.pieces.push(piece);
                    continue;
                }
                let border = borders.range(start + 1..).next().copied().unwrap_or(next);
                let end = border.min(next);
                let room =
                    if section.name.contains("eh_frame") || section.name.contains("except_table") {
                        "unwinding tables"
                    } else {
                        UNNAMED
                    };
                self.pieces.push(Piece {
                    start,
                    end,
                    name: None,
                    room: room.to_owned(),
                    section: index,
                });
                start = end;
            }
        }
    }

    /// Gives an unnamed piece to the room of what refers to it.
    pub fn give(&mut self, piece: usize, user: usize) {
        let room = self.pieces[user].room.clone();
        let piece = &mut self.pieces[piece];
        if piece.name.is_none() && piece.room == UNNAMED {
            piece.room = room;
        }
    }

    /// Whether a piece has neither name nor owner.
    pub fn is_unowned(&self, piece: usize) -> bool {
        self.pieces[piece].room == UNNAMED
    }

    fn section_at(&self, address: u64) -> Option<usize> {
        self.sections.iter().position(|section| (section.start..section.end).contains(&address))
    }
}

/// The sections that are loaded, by address.
fn sections(file: &ElfFile64<'_, Endianness>) -> Result<Vec<Section>> {
    let mut sections = Vec::new();
    for section in file.sections() {
        let header = section.elf_section_header();
        let flags = header.sh_flags(Endianness::Little);
        let zeros = header.sh_type(Endianness::Little) == SHT_NOBITS;
        // Thread-local zeros share their addresses with what follows.
        if !flags.contains(SHF_ALLOC) || (zeros && flags.contains(SHF_TLS)) || section.size() == 0 {
            continue;
        }
        let store = if zeros {
            Store::Zeros
        } else if flags.contains(SHF_EXECINSTR) {
            Store::Code
        } else if flags.contains(SHF_WRITE) {
            Store::Data
        } else {
            Store::Constants
        };
        sections.push(Section {
            name: section.name().context("a section without a name")?.to_owned(),
            start: section.address(),
            end: section.address() + section.size(),
            store,
            content: section.data().context("a section whose content is not there")?.to_vec(),
        });
    }
    sections.sort_by_key(|section| section.start);
    Ok(sections)
}

/// All symbol names of an object file.
fn symbol_names(path: &Path) -> Result<HashSet<String>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("{} is not an object file", path.display()))?;
    Ok(file
        .symbols()
        .filter(|symbol| symbol.is_definition())
        .filter_map(|symbol| symbol.name().ok().map(str::to_owned))
        .collect())
}
