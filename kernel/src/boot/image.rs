//! The running image: its own ELF headers tell what each part of it may be used for.

use crate::arch::paging::{Access, Segment};
use crate::debug::names::Names;

/// The fields of an ELF64 file header that matter here (System V ABI, "ELF Header").
#[repr(C)]
struct Header {
    identity: [u8; 16],
    kind: [u16; 2],
    version: u32,
    entry: u64,
    program_headers: u64,
    section_headers: u64,
    flags: u32,
    size: u16,
    program_header_size: u16,
    program_header_count: u16,
}

/// An ELF64 program header.
#[repr(C)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

const LOAD: u32 = 1;
const GNU_RELRO: u32 = 0x6474_e552;
const EXECUTABLE: u32 = 1;
const WRITABLE: u32 = 2;

unsafe extern "C" {
    /// Defined by the linker: the file header, at the start of the first segment.
    static __ehdr_start: Header;
}

fn program_headers() -> &'static [ProgramHeader] {
    // SAFETY: the linker puts the headers into the first loaded segment, which stays mapped.
    unsafe {
        let header = &__ehdr_start;
        let first = (&raw const *header).cast::<u8>().add(header.program_headers as usize);
        core::slice::from_raw_parts(first.cast(), header.program_header_count as usize)
    }
}

/// The parts of the image with what they may be used for; a later one overrides an earlier one.
pub fn segments() -> impl Iterator<Item = Segment> {
    let segment = |header: &ProgramHeader, access| Segment {
        start: header.address as usize,
        end: (header.address + header.memory_size) as usize,
        access,
    };
    let loaded = program_headers().iter().filter(|header| header.kind == LOAD).map(move |header| {
        segment(
            header,
            match header.flags {
                flags if flags & EXECUTABLE != 0 => Access::ReadExecute,
                flags if flags & WRITABLE != 0 => Access::ReadWrite,
                _ => Access::Read,
            },
        )
    });
    // What is constant once the image is relocated; nothing has to be relocated in it.
    let constant = program_headers()
        .iter()
        .filter(|header| header.kind == GNU_RELRO)
        .map(move |header| segment(header, Access::Read));
    loaded.chain(constant)
}

/// The image's table of names, and the address that its addresses count from.
pub fn names() -> Option<(Names<'static>, usize)> {
    let last = program_headers()
        .iter()
        .rfind(|header| header.kind == LOAD && header.flags & (EXECUTABLE | WRITABLE) == 0)?;
    // SAFETY: a segment of constants, which is loaded and stays mapped.
    let bytes =
        unsafe { core::slice::from_raw_parts(last.address as *const u8, last.file_size as usize) };
    Some((Names::new(bytes)?, &raw const __ehdr_start as usize))
}
