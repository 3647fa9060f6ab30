//! A Hermit image: a compressed archive with the kernel's ELF file, its configuration, and files.

use core::ops::Range;
use core::slice;

use skete_loader::command_line;
use skete_loader::config::{self, Config};
use skete_loader::gzip::Gzip;
use skete_loader::image::{HIGHEST, LOWEST, PAGE};
use skete_loader::memory::Memory;
use skete_loader::problem::Problem;

use super::fw_cfg;

/// The lowest place for anything: as for images.
const FLOOR: u64 = 0x1_0000;

/// What is in a Hermit image.
pub struct Hermit {
    /// The kernel's ELF file, with the program.
    pub kernel: &'static [u8],
    /// The archive, uncompressed: the initial file tree.
    pub archive: Range<u64>,
    /// The command line for the kernel, below where images are mapped.
    pub line: &'static [u8],
}

impl Hermit {
    /// Unpacks an image into free memory, which is then taken from `free`.
    ///
    /// # Safety
    ///
    /// `free` is memory that is mapped identically up to [`HIGHEST`] and in which nothing lies. Nothing may
    /// be put where the result lies.
    pub unsafe fn unpack(
        file: &[u8],
        line: &[u8],
        total: u64,
        free: &mut Memory,
    ) -> Result<Self, Problem> {
        // SAFETY: as the caller says.
        let (archive, bytes) = unsafe { inflate(file, "image", free) }?;
        let damaged = |damage: skete_archive::Damage<'_>| {
            Problem::Archive(damage.problem.text(), damage.offset as u64)
        };
        let text = skete_archive::find(bytes, config::NAME.as_bytes())
            .map_err(damaged)?
            .ok_or(Problem::Config("the image does not have one"))?;
        let text = core::str::from_utf8(text).map_err(|_| Problem::Config("it is not UTF-8"))?;

        // For the configuration alone, whose values end up in the command line.
        let mut scratch = free.clone();
        let size = config::memory_for(text.len()) as u64;
        // SAFETY: as the caller says.
        let memory = unsafe { take(size, FLOOR..HIGHEST, &mut scratch) }?.1;
        let config = Config::parse(text, memory).map_err(Problem::Config)?;
        // What firmware has reserved counts as memory, and is less than a MiB.
        if total + (1 << 20) < config.memory {
            return Err(Problem::Memory { needed: config.memory, found: total });
        }
        if let Some(found) = fw_cfg::processors()
            && found < config.cpus
        {
            return Err(Problem::Processors { needed: config.cpus, found });
        }

        // The kernel reads the line where it is, so it has to lie below where images are mapped, and
        // nowhere in what is still read here.
        let size = command_line::memory_for(line, &config) as u64;
        // SAFETY: as the caller says.
        let (place, memory) = unsafe { take(size, FLOOR..LOWEST, &mut scratch) }?;
        let length = command_line::join(line, &config, memory)
            .ok_or(Problem::CommandLine("is too long together with the image's arguments"))?;
        free.remove(place)?;
        let kernel = skete_archive::find(bytes, config.kernel())
            .map_err(damaged)?
            .ok_or(Problem::NoKernel)?;
        Ok(Self { kernel, archive, line: memory.get(..length).unwrap_or_default() })
    }
}

/// Inflates a compressed file, `what`, into memory that is then taken from `free`; gives its place, as
/// exactly as it is long, and its bytes.
///
/// # Safety
///
/// As for [`Hermit::unpack`].
pub unsafe fn inflate(
    file: &[u8],
    what: &'static str,
    free: &mut Memory,
) -> Result<(Range<u64>, &'static [u8]), Problem> {
    let damaged = |why| Problem::Compressed(what, why);
    let gzip = Gzip::parse(file).map_err(damaged)?;
    // SAFETY: as the caller says.
    let (place, memory) =
        unsafe { take(gzip.size, LOWEST..HIGHEST, free) }.map_err(|problem| match problem {
            Problem::TooLarge { needed, largest } => {
                Problem::CompressedTooLarge { what, needed, largest }
            }
            other => other,
        })?;
    gzip.inflate(memory).map_err(damaged)?;
    Ok((place, memory))
}

/// Takes the lowest free memory in a window; gives its place and its bytes, zeroed.
///
/// # Safety
///
/// As for [`Hermit::unpack`].
unsafe fn take(
    size: u64,
    window: Range<u64>,
    free: &mut Memory,
) -> Result<(Range<u64>, &'static mut [u8]), Problem> {
    let start = free
        .find(size.max(1), PAGE, window)
        .map_err(|largest| Problem::TooLarge { needed: size, largest })?;
    let place = start..start + size;
    free.remove(start..start + size.max(1))?;
    // SAFETY: free memory, mapped identically, that is nobody else's from now on. A program that starts from
    // what was in memory before must not depend on it.
    let bytes = unsafe {
        let first = start as usize as *mut u8;
        first.write_bytes(0, size as usize);
        slice::from_raw_parts_mut(first, size as usize)
    };
    Ok((place, bytes))
}
