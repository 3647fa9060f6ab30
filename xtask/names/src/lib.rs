//! Names for the addresses of an image, written when it is linked and read when it runs.
//!
//! A backtrace inside an image needs names. DWARF and the code that reads it would be larger than
//! the image, so linking writes a [`Table`] of its own: the functions' names always, and file and
//! line of every instruction when the image has debug information. `kernel/src/debug/names.rs`
//! documents its format and reads it. [`finish`] puts the table into the image and strips the rest.

mod elf;
mod functions;
mod lines;
mod pairs;
mod table;

use std::path::Path;

use anyhow::{Context, Result};

use table::Table;

pub use elf::Keep;

/// Gives the image at `path` its table of names, and leaves out of the file what `keep` does not name.
///
/// File and line are in the table when the debug information stays in the file.
pub fn finish(path: &Path, keep: Keep) -> Result<()> {
    let image = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let table = match keep {
        Keep::Nothing => None,
        _ => Some(
            table(path, &image, keep)
                .with_context(|| format!("cannot name the functions of {}", path.display()))?,
        ),
    };
    let image = elf::rewrite(&image, table.as_deref(), keep)
        .with_context(|| format!("{} is not an image", path.display()))?;
    // A second name of the file, as cargo makes them, must not see a half of it.
    let new = path.with_extension("named");
    let write = || {
        std::fs::write(&new, &image)?;
        std::fs::set_permissions(&new, std::fs::metadata(path)?.permissions())?;
        std::fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a stripped copy of an image that was [finished](finish) before. The table of names stays,
/// unless `keep` is [`Keep::Nothing`].
pub fn strip(image: &[u8], keep: Keep) -> Result<Vec<u8>> {
    let table = match keep {
        Keep::Nothing => None,
        _ => elf::table(image)?.map(<[u8]>::to_vec),
    };
    elf::rewrite(image, table.as_deref(), keep)
}

fn table(path: &Path, image: &[u8], keep: Keep) -> Result<Vec<u8>> {
    let base = elf::base(image)?;
    let mut table = Table::default();
    functions::collect(image, base, &mut table)?;
    if keep == Keep::All {
        lines::collect(path, image, base, &mut table)?;
    }
    Ok(table.write())
}
