//! The image: an ELF file for `hermit-entry`, ours or Hermit's.

use std::fs;
use std::ops::Deref;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use hermit_entry::boot_info::{LoadInfo, TlsInfo};
use skete_loader::elf::{self, Notes, ProgramHeader, part, u16_at, u64_at};
use skete_loader::image::{Image, LOWEST};
use skete_loader::problem::Problem;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::memory::Memory;

/// The image in the guest's memory.
#[derive(Debug)]
pub struct Loaded {
    /// Where the first processor begins.
    pub entry: u64,
    /// What the boot information tells of it.
    pub info: LoadInfo,
}

/// An image's file, mapped: of a large one with much debug information, only what is loaded is read.
#[derive(Debug)]
pub struct File {
    start: *const u8,
    length: usize,
}

impl File {
    /// Maps a file. One that somebody shortens meanwhile ends the process (SIGBUS).
    #[inline(never)] // Instructions are counted from here on.
    pub fn open(path: &Path) -> Result<File> {
        let file = fs::File::open(path)
            .with_context(|| format!("cannot open the image {}", path.display()))?;
        let metadata = file.metadata().ok().filter(fs::Metadata::is_file);
        let Some(metadata) = metadata else {
            bail!("{} is not a file; give the image's ELF file", path.display());
        };
        let length = metadata.len() as usize;
        if length == 0 {
            bail!("{} is empty; give the image's ELF file", path.display());
        }
        // SAFETY: a new mapping, of a file that is open, at an address that the system chooses.
        let start = unsafe {
            mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, &file, 0)
        };
        let start = start.with_context(|| format!("cannot read the image {}", path.display()))?;
        Ok(File { start: start.cast(), length })
    }
}

impl Deref for File {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping, which lives as long as this value.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.cast_mut().cast(), self.length) };
    }
}

/// Checks an image's bytes; the error says what is wrong with them.
pub fn parse(bytes: &[u8]) -> Result<Image<'_>> {
    Image::parse(bytes).map_err(describe)
}

/// The loader's line about a problem, without the loader's name.
fn describe(problem: Problem) -> anyhow::Error {
    let mut text = String::new();
    problem.describe(&mut |part| text.push_str(part));
    anyhow!("{}", text.trim_start_matches("skete-loader: ").trim_end().to_owned())
}

/// Loads an image: at its own addresses, or where the lowest image may lie.
pub fn load(image: &Image<'_>, memory: &Memory) -> Result<Loaded> {
    let pages = image.pages();
    let base =
        if image.relocatable { LOWEST.next_multiple_of(image.align) - pages.start } else { 0 };
    let (start, length) = (pages.start + base, pages.end - pages.start);
    // SAFETY: no guest runs, and nobody else has this piece.
    let Some(piece) = (unsafe { memory.piece(start, length) }) else {
        bail!(
            "the image needs {} KiB of memory at {start:#x}, and the guest has {} KiB in all; give it more (--memory)",
            length >> 10,
            memory.end() >> 10
        );
    };
    image.load(piece, base).map_err(describe)?;
    Ok(Loaded {
        entry: image.entry + base,
        info: LoadInfo {
            kernel_image_addr_range: image.range.start + base..image.range.end + base,
            tls_info: image.tls.map(|tls| TlsInfo {
                start: tls.start + base,
                filesz: tls.file_size,
                memsz: tls.memory_size,
                align: tls.align,
            }),
        },
    })
}

/// The program headers of a checked image.
pub fn headers(bytes: &[u8]) -> impl Iterator<Item = ProgramHeader> {
    let offset = u64_at(bytes, 32).unwrap_or(0);
    let count = u64::from(u16_at(bytes, 56).unwrap_or(0));
    (0..count).filter_map(move |number| {
        ProgramHeader::read(bytes, (offset + number * elf::PROGRAM_HEADER_SIZE as u64) as usize)
    })
}

/// The content of the first note with this name and number.
#[must_use]
pub fn note<'a>(bytes: &'a [u8], name: &[u8], kind: u32) -> Option<&'a [u8]> {
    headers(bytes).filter(|header| header.kind == elf::PT_NOTE).find_map(|header| {
        let content = part(bytes, header.offset, header.file_size)?;
        let mut notes = Notes::new(content, header.align).flatten();
        notes.find(|note| note.name == name && note.kind == kind).map(|note| note.content)
    })
}

/// Name and number of the note that tells which system a program is for (Linux Standard Base, "ABI note tag").
const SYSTEM: (&[u8], u32) = (b"GNU\0", 1);
/// Hermit's number in it.
const HERMIT: u32 = 6;

/// The version of Hermit's kernel in an image.
fn hermit_version(bytes: &[u8]) -> Option<[u32; 3]> {
    let note = note(bytes, SYSTEM.0, SYSTEM.1)?;
    let mut words =
        note.chunks_exact(4).filter_map(|word| Some(u32::from_le_bytes(*word.first_chunk()?)));
    (words.next()? == HERMIT).then(|| [(); 3].map(|()| words.next().unwrap_or(0)))
}

/// Whether the kernel in an image is Hermit's.
#[must_use]
pub fn is_hermits(bytes: &[u8]) -> bool {
    hermit_version(bytes).is_some()
}

/// The version of the kernel, where the image tells it.
#[must_use]
pub fn version(bytes: &[u8]) -> String {
    hermit_version(bytes)
        .map_or_else(String::new, |[major, minor, patch]| format!(" {major}.{minor}.{patch}"))
}
