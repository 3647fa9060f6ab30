//! `skete inspect`: what is in an image.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use skete_loader::elf;

use crate::image;

/// Prints what is in an image.
///
/// # Errors
///
/// When it cannot be read, or is none.
pub fn print(path: &Path) -> Result<()> {
    let bytes = image::File::open(path)?;
    let text = describe(&bytes).with_context(|| format!("{} is no image", path.display()))?;
    print!("{}: {} bytes\n{text}", path.display(), bytes.len());
    Ok(())
}

fn describe(bytes: &[u8]) -> Result<String> {
    let image = image::parse(bytes)?;
    let mut text = String::new();
    let maker = if image::is_hermits(bytes) { "Hermit's" } else { "Skete's" };
    let _ = writeln!(text, "kernel:  {maker}{}", image::version(bytes));
    let entry = image::note(bytes, b"HERMIT\0", 0x5a00).and_then(|note| note.first());
    let _ = writeln!(text, "entry:   {:#x} (hermit-entry {})", image.entry, entry.unwrap_or(&0));
    let interface = image::note(bytes, b"UHYVEIF\0", 0x5b00).and_then(|note| note.first_chunk());
    let interface = interface
        .map_or_else(|| "none said".to_owned(), |bytes| u32::from_be_bytes(*bytes).to_string());
    let _ = writeln!(text, "uhyve interface: {interface}");
    let place = if image.relocatable { "anywhere" } else { "at its own addresses" };
    let _ = writeln!(text, "memory:  {:#x} to {:#x}, {place}", image.range.start, image.range.end);
    if let Some(tls) = image.tls {
        let _ = writeln!(
            text,
            "thread-local storage: {} bytes, {} of them initialised",
            tls.memory_size, tls.file_size
        );
    }
    for header in image::headers(bytes).filter(|header| header.kind == elf::PT_LOAD) {
        let flag = |bit: u32, letter: char| if header.flags & bit != 0 { letter } else { '-' };
        let access = [flag(4, 'r'), flag(2, 'w'), flag(1, 'x')].iter().collect::<String>();
        let _ = writeln!(
            text,
            "segment: {access} {:#x} {} bytes, {} in the file",
            header.address, header.memory_size, header.file_size
        );
    }
    // What lies below the image is the loader's, and the kernel wants some more.
    let needed = (image.range.end + (256 << 10)).next_multiple_of(1 << 20).max(2 << 20);
    let _ = writeln!(text, "needs:   at least {} MiB of memory (--memory)", needed >> 20);
    Ok(text)
}
