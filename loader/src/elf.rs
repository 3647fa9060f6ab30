//! Reading ELF64 structures from bytes that nobody has checked yet.
//!
//! Layouts and names follow the System V gABI, chapters 4 and 5.

/// `e_machine` of x86-64.
pub const EM_X86_64: u16 = 62;
/// `e_type` of a program at fixed addresses.
pub const ET_EXEC: u16 = 2;
/// `e_type` of a program that can be moved.
pub const ET_DYN: u16 = 3;
/// Segment to be loaded.
pub const PT_LOAD: u32 = 1;
/// Segment with dynamic linking information.
pub const PT_DYNAMIC: u32 = 2;
/// Segment that names a dynamic linker.
pub const PT_INTERP: u32 = 3;
/// Segment with notes.
pub const PT_NOTE: u32 = 4;
/// Segment with the thread-local storage image.
pub const PT_TLS: u32 = 7;
/// Segment flag: executable.
pub const PF_X: u32 = 1;
/// Size of the file header.
pub const HEADER_SIZE: usize = 64;
/// Size of one program header.
pub const PROGRAM_HEADER_SIZE: usize = 56;

/// The two little-endian bytes at `offset`, if they are there.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The four little-endian bytes at `offset`, if they are there.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The eight little-endian bytes at `offset`, if they are there.
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The part of `bytes` that starts at `offset` and is `size` bytes long, if it is all there.
pub fn part(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(size)?).ok()?;
    bytes.get(start..end)
}

/// One program header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramHeader {
    /// What the segment is, `PT_*`.
    pub kind: u32,
    /// Permissions, `PF_*`.
    pub flags: u32,
    /// Where its bytes lie in the file.
    pub offset: u64,
    /// Its address.
    pub address: u64,
    /// How many bytes the file has of it.
    pub file_size: u64,
    /// How many bytes it takes in memory; those beyond `file_size` are zero.
    pub memory_size: u64,
    /// Its alignment; 0 and 1 mean none.
    pub align: u64,
}

impl ProgramHeader {
    /// Reads the header at `offset`, if it is all there.
    pub fn read(bytes: &[u8], offset: usize) -> Option<Self> {
        let bytes = bytes.get(offset..)?;
        Some(Self {
            kind: u32_at(bytes, 0)?,
            flags: u32_at(bytes, 4)?,
            offset: u64_at(bytes, 8)?,
            address: u64_at(bytes, 16)?,
            file_size: u64_at(bytes, 32)?,
            memory_size: u64_at(bytes, 40)?,
            align: u64_at(bytes, 48)?,
        })
    }
}

/// One note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note<'a> {
    /// Who defines the note, with the terminating zero.
    pub name: &'a [u8],
    /// The note's type, in the definer's own numbering.
    pub kind: u32,
    /// Its content.
    pub content: &'a [u8],
}

/// The notes of one segment. An item is `None` where the segment is malformed; iteration ends
/// there.
pub struct Notes<'a> {
    bytes: &'a [u8],
    align: usize,
}

impl<'a> Notes<'a> {
    /// Walks `bytes`, the content of a `PT_NOTE` segment with alignment `align`. Names and
    /// contents are padded to 4 bytes, or to 8 in a segment that is aligned so.
    pub fn new(bytes: &'a [u8], align: u64) -> Self {
        Self { bytes, align: if align == 8 { 8 } else { 4 } }
    }

    fn read(&mut self) -> Option<Note<'a>> {
        let name_size = usize::try_from(u32_at(self.bytes, 0)?).ok()?;
        let content_size = usize::try_from(u32_at(self.bytes, 4)?).ok()?;
        let kind = u32_at(self.bytes, 8)?;
        let name_end = 12usize.checked_add(name_size)?;
        let name = self.bytes.get(12..name_end)?;
        let start = name_end.checked_next_multiple_of(self.align)?;
        let end = start.checked_add(content_size)?;
        let content = self.bytes.get(start..end)?;
        // The last note may lack its padding.
        let next = end.checked_next_multiple_of(self.align)?;
        self.bytes = self.bytes.get(next..).unwrap_or_default();
        Some(Note { name, kind, content })
    }
}

impl<'a> Iterator for Notes<'a> {
    type Item = Option<Note<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let note = self.read();
        if note.is_none() {
            self.bytes = &[];
        }
        Some(note)
    }
}
