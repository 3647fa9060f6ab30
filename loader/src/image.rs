//! The image: an ELF file that is checked completely before any of it is used.

use core::ops::Range;

use crate::elf::{self, Note, Notes, ProgramHeader, part, u16_at, u64_at};
use crate::problem::Problem;
use crate::relocation::Relocations;

/// The version of hermit-entry's binary interface that this loader speaks.
///
/// The crate keeps its own constant private; a test holds this one against the note it makes.
pub const ENTRY_VERSION: u8 = 4;

/// Name and type of the note that carries the version.
const ENTRY_NOTE: (&[u8], u32) = (b"HERMIT\0", 0x5a00);

/// The lowest address where an image may lie: below it is the loader.
pub const LOWEST: u64 = 0x20_0000;

/// The end of the memory that the loader maps.
pub const HIGHEST: u64 = 0x4000_0000;

/// Size of a page and of a frame.
pub const PAGE: u64 = 0x1000;

/// The thread-local storage image, in addresses of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls {
    /// Where its initial content starts.
    pub start: u64,
    /// The length of the initial content.
    pub file_size: u64,
    /// Its length in a thread; the rest is zero.
    pub memory_size: u64,
    /// Its alignment, a power of two.
    pub align: u64,
}

/// An acceptable image.
#[derive(Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    headers: &'a [u8],
    /// Whether the image may be moved; its addresses are then relative to where it is put.
    pub relocatable: bool,
    /// From the first byte of the first segment to the last byte of the last one.
    pub range: Range<u64>,
    /// Where execution starts.
    pub entry: u64,
    /// The thread-local storage image, if the program has one.
    pub tls: Option<Tls>,
    /// The largest alignment that a segment asks for, at least a page.
    pub align: u64,
    relocations: Relocations<'a>,
}

impl<'a> Image<'a> {
    /// Checks `bytes`. After this, nothing in the file can make the loader read or write outside
    /// of the file and of the image's memory.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Problem> {
        let headers = check_header(bytes)?;
        let segments = || program_headers(headers);
        if segments().any(|segment| segment.kind == elf::PT_INTERP) {
            return Err(Problem::Foreign("it asks for a dynamic linker"));
        }
        let relocatable = u16_at(bytes, 16) == Some(elf::ET_DYN);
        let mut image = Self {
            bytes,
            headers,
            relocatable,
            range: check_segments(bytes, headers)?,
            entry: u64_at(bytes, 24).ok_or(SHORT)?,
            tls: None,
            align: PAGE,
            relocations: Relocations::default(),
        };
        check_notes(bytes, headers)?;
        image.tls = check_tls(headers)?;
        for segment in image.loads() {
            image.align = image.align.max(segment.align);
        }
        let entry_is_code = image.loads().any(|segment| {
            segment.flags & elf::PF_X != 0
                && (segment.address..segment.address + segment.file_size).contains(&image.entry)
        });
        if !entry_is_code {
            return Err(Problem::Malformed("its entry point is not in its code"));
        }
        if relocatable {
            for dynamic in segments().filter(|segment| segment.kind == elf::PT_DYNAMIC) {
                let table = part(bytes, dynamic.offset, dynamic.file_size)
                    .ok_or(Problem::Malformed("its dynamic section breaks off"))?;
                image.relocations = Relocations::parse(table, &image)?;
            }
        } else if image.range.start < LOWEST || image.range.end > HIGHEST {
            return Err(Problem::Addresses);
        }
        Ok(image)
    }

    /// The segments to be loaded, by ascending address.
    pub fn loads(&self) -> impl Iterator<Item = ProgramHeader> + use<'a> {
        program_headers(self.headers).filter(|segment| segment.kind == elf::PT_LOAD)
    }

    /// The content of the first note with this name and type.
    pub fn note(&self, name: &[u8], kind: u32) -> Option<&'a [u8]> {
        let notes = program_headers(self.headers).filter(|segment| segment.kind == elf::PT_NOTE);
        let mut notes = notes.flat_map(|segment| {
            let content = part(self.bytes, segment.offset, segment.file_size).unwrap_or_default();
            Notes::new(content, segment.align).flatten()
        });
        notes.find(|note| (note.name, note.kind) == (name, kind)).map(|note| note.content)
    }

    /// The pages that the image touches.
    pub fn pages(&self) -> Range<u64> {
        // `check_segments` has made sure that rounding up does not overflow.
        self.range.start / PAGE * PAGE..self.range.end.next_multiple_of(PAGE)
    }

    /// What the file has at an address, up to the end of the segment's content.
    pub(crate) fn content_at(&self, address: u64) -> Option<&'a [u8]> {
        self.loads().find_map(|segment| {
            let skip = address.checked_sub(segment.address)?;
            let left = segment.file_size.checked_sub(skip).filter(|left| *left > 0)?;
            part(self.bytes, segment.offset + skip, left)
        })
    }

    /// Whether `size` bytes at an address lie in one segment's memory.
    pub(crate) fn is_loaded(&self, address: u64, size: u64) -> bool {
        self.loads().any(|segment| {
            address.checked_sub(segment.address).is_some_and(|skip| {
                skip.checked_add(size).is_some_and(|end| end <= segment.memory_size)
            })
        })
    }

    /// Fills `memory`, which holds the image's [pages](Self::pages), with segments and zeros, and
    /// applies relocations for an image that was moved by `base` bytes (0 for a fixed one).
    ///
    /// Every byte is written once: either from the file or with zero.
    pub fn load(&self, memory: &mut [u8], base: u64) -> Result<(), Problem> {
        let mut cursor = self.pages().start;
        let mut rest = &mut *memory;
        for segment in self.loads() {
            let content = part(self.bytes, segment.offset, segment.file_size).ok_or(SHORT)?;
            let gap = usize::try_from(segment.address - cursor).map_err(|_| SHORT)?;
            let (before, after) = rest.split_at_mut_checked(gap).ok_or(SHORT)?;
            before.fill(0);
            let (target, after) = after.split_at_mut_checked(content.len()).ok_or(SHORT)?;
            target.copy_from_slice(content);
            rest = after;
            cursor = segment.address + segment.file_size;
        }
        rest.fill(0);
        self.relocations.apply(memory, self.pages().start, base)
    }
}

/// A file that ends within its headers.
const SHORT: Problem = Problem::Malformed("the file breaks off");

/// Checks the file header and returns the bytes of the program headers.
fn check_header(bytes: &[u8]) -> Result<&[u8], Problem> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err(Problem::NotElf);
    }
    if bytes.len() < elf::HEADER_SIZE {
        return Err(SHORT);
    }
    match bytes.get(4) {
        Some(2) => {}
        Some(1) => return Err(Problem::Format("32-bit")),
        _ => return Err(Problem::Malformed("its class is unknown")),
    }
    match bytes.get(5) {
        Some(1) => {}
        Some(2) => return Err(Problem::Format("big-endian")),
        _ => return Err(Problem::Malformed("its byte order is unknown")),
    }
    let machine = u16_at(bytes, 18).ok_or(SHORT)?;
    if machine != elf::EM_X86_64 {
        return Err(Problem::Machine(machine));
    }
    match u16_at(bytes, 16) {
        Some(elf::ET_EXEC | elf::ET_DYN) => {}
        _ => {
            return Err(Problem::Foreign("it is an object file, not a linked program"));
        }
    }
    let count = u16_at(bytes, 56).ok_or(SHORT)?;
    let entry_size = u16_at(bytes, 54).ok_or(SHORT)?;
    if usize::from(entry_size) != elf::PROGRAM_HEADER_SIZE || count == u16::MAX {
        return Err(Problem::Malformed("its program headers have an unknown format"));
    }
    let offset = u64_at(bytes, 32).ok_or(SHORT)?;
    let size = u64::from(count) * u64::from(entry_size);
    part(bytes, offset, size).ok_or(Problem::Malformed("its program headers break off"))
}

/// The program headers in `headers`, whose length is a multiple of a header's.
fn program_headers(headers: &[u8]) -> impl Iterator<Item = ProgramHeader> {
    headers.chunks_exact(elf::PROGRAM_HEADER_SIZE).filter_map(|bytes| ProgramHeader::read(bytes, 0))
}

/// Checks the segments that are to be loaded and returns the addresses from first to last.
fn check_segments(bytes: &[u8], headers: &[u8]) -> Result<Range<u64>, Problem> {
    let mut range: Option<Range<u64>> = None;
    for segment in program_headers(headers).filter(|segment| segment.kind == elf::PT_LOAD) {
        if segment.memory_size < segment.file_size {
            return Err(Problem::Malformed("a segment has more content than memory"));
        }
        if part(bytes, segment.offset, segment.file_size).is_none() {
            return Err(Problem::Malformed("a segment breaks off"));
        }
        if segment.align > 1 && !segment.align.is_power_of_two() {
            return Err(Problem::Malformed("a segment's alignment is no power of two"));
        }
        // Nothing above `HIGHEST` can be loaded; the check keeps sums from overflowing.
        let end = segment
            .address
            .checked_add(segment.memory_size)
            .filter(|end| *end <= HIGHEST)
            .ok_or(Problem::Addresses)?;
        range = match range {
            None => Some(segment.address..end),
            Some(range) if range.end <= segment.address => Some(range.start..end),
            Some(_) => return Err(Problem::Malformed("its segments overlap or are not sorted")),
        };
    }
    range.filter(|range| !range.is_empty()).ok_or(Problem::Malformed("it has nothing to be loaded"))
}

/// Looks for the hermit-entry note.
fn check_notes(bytes: &[u8], headers: &[u8]) -> Result<(), Problem> {
    let mut version = None;
    for segment in program_headers(headers).filter(|segment| segment.kind == elf::PT_NOTE) {
        let content = part(bytes, segment.offset, segment.file_size)
            .ok_or(Problem::Malformed("its notes break off"))?;
        for note in Notes::new(content, segment.align) {
            let Note { name, kind, content } =
                note.ok_or(Problem::Malformed("its notes contradict their sizes"))?;
            if (name, kind) == ENTRY_NOTE && version.is_none() {
                version = Some(*content.first().ok_or(Problem::Malformed("its note is empty"))?);
            }
        }
    }
    match version {
        Some(ENTRY_VERSION) => Ok(()),
        Some(other) => Err(Problem::EntryVersion(other)),
        None => Err(Problem::Foreign("it has no hermit-entry note")),
    }
}

/// Checks the thread-local storage segment.
fn check_tls(headers: &[u8]) -> Result<Option<Tls>, Problem> {
    let mut segments = program_headers(headers).filter(|segment| segment.kind == elf::PT_TLS);
    let Some(segment) = segments.next() else {
        return Ok(None);
    };
    let end = segment.address.checked_add(segment.file_size);
    // An empty initial content (a program with nothing but zeros) may lie anywhere.
    let is_loaded = segment.file_size == 0
        || program_headers(headers).any(|load| {
            load.kind == elf::PT_LOAD
                && load.address <= segment.address
                && end.is_some_and(|end| end <= load.address + load.file_size)
        });
    let align = segment.align.max(1);
    if segments.next().is_some()
        || !is_loaded
        || segment.memory_size < segment.file_size
        || segment.memory_size > HIGHEST
        || segment.address > HIGHEST
        || !align.is_power_of_two()
        || align > HIGHEST
    {
        return Err(Problem::Malformed("its thread-local storage contradicts its segments"));
    }
    Ok(Some(Tls {
        start: segment.address,
        file_size: segment.file_size,
        memory_size: segment.memory_size,
        align,
    }))
}
