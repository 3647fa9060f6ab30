//! `skete inspect`: what is in an image.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context, Result};

use crate::image;

/// Prints what is in an image.
///
/// # Errors
///
/// When it cannot be read, or is none.
pub fn print(path: &Path) -> Result<()> {
    let bytes = image::open(path)?;
    let image = image::parse(&bytes).with_context(|| format!("{} is no image", path.display()))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {} bytes", path.display(), bytes.len())?;
    let kernel = match image::hermit_version(&image) {
        Some([major, minor, patch]) => format!("Hermit's {major}.{minor}.{patch}"),
        None => "Skete's".to_owned(),
    };
    writeln!(out, "kernel:  {kernel}")?;
    let version = image.note(b"HERMIT\0", 0x5a00).and_then(|note| note.first()).unwrap_or(&0);
    writeln!(out, "entry:   {:#x} (hermit-entry {version})", image.entry)?;
    let interface = image.note(b"UHYVEIF\0", 0x5b00).and_then(|note| note.first_chunk());
    let interface = interface.map(|bytes| u32::from_be_bytes(*bytes).to_string());
    writeln!(out, "uhyve interface: {}", interface.as_deref().unwrap_or("none said"))?;
    let place = if image.relocatable { "anywhere" } else { "at its own addresses" };
    writeln!(out, "memory:  {:#x} to {:#x}, {place}", image.range.start, image.range.end)?;
    if let Some(tls) = image.tls {
        let (size, content) = (tls.memory_size, tls.file_size);
        writeln!(out, "thread-local storage: {size} bytes, {content} of them initialised")?;
    }
    for header in image.loads() {
        let flag = |bit: u32, letter: char| if header.flags & bit != 0 { letter } else { '-' };
        let access = [flag(4, 'r'), flag(2, 'w'), flag(1, 'x')].iter().collect::<String>();
        let (at, size, content) = (header.address, header.memory_size, header.file_size);
        writeln!(out, "segment: {access} {at:#x} {size} bytes, {content} in the file")?;
    }
    // What lies below the image is the loader's, and the kernel wants some more.
    let needed = (image.range.end + (256 << 10)).next_multiple_of(1 << 20).max(2 << 20);
    writeln!(out, "needs:   at least {} MiB of memory (--memory)", needed >> 20)?;
    Ok(())
}
