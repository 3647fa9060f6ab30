//! The image: an ELF file for `hermit-entry`, ours or Hermit's.

use std::fs::{File, Metadata};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use hermit_entry::boot_info::{LoadInfo, TlsInfo};
use memmap2::Mmap;
use skete_loader::image::{Image, LOWEST};
use skete_loader::problem::Problem;

use crate::memory::Memory;

/// The image in the guest's memory.
pub struct Loaded {
    /// Where the first processor begins.
    pub entry: u64,
    /// By how much its addresses were moved.
    pub base: u64,
    /// What the boot information tells of it.
    pub info: LoadInfo,
}

/// Maps an image's file: of a large one with much debug information, only what is loaded is read. When somebody
/// shortens the file meanwhile, the process ends (SIGBUS).
#[inline(never)] // Instructions are counted from here on.
pub fn open(path: &Path) -> Result<Mmap> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot open the image {name}"))?;
    match file.metadata().ok().filter(Metadata::is_file) {
        None => bail!("{name} is not a file; give the image's ELF file"),
        Some(data) if data.len() == 0 => bail!("{name} is empty; give the image's ELF file"),
        Some(_) => {
            // SAFETY: the bytes are read as numbers of any value.
            let map = unsafe { Mmap::map(&file) };
            map.with_context(|| format!("cannot read the image {name}"))
        }
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
        base,
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

/// Name and number of the note that tells which system a program is for (Linux Standard Base, "ABI note tag").
const SYSTEM: (&[u8], u32) = (b"GNU\0", 1);
/// Hermit's number in it.
const HERMIT: u32 = 6;

/// The version of Hermit's kernel, in an image that has it.
pub fn hermit_version(image: &Image<'_>) -> Option<[u32; 3]> {
    let note = image.note(SYSTEM.0, SYSTEM.1)?;
    let mut words =
        note.chunks_exact(4).filter_map(|word| Some(u32::from_le_bytes(*word.first_chunk()?)));
    (words.next()? == HERMIT).then(|| [(); 3].map(|()| words.next().unwrap_or(0)))
}
