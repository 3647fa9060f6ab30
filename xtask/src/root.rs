//! The initial file tree of a machine: a directory, or an archive, as a tar archive.

pub mod baked;
pub mod hermit;
mod pack;

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;

/// What a gzip file begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Where a machine's initial file tree comes from.
#[derive(Clone, Debug)]
pub enum Root {
    /// A directory, or an archive, perhaps a compressed one: the loader gets a tar archive.
    Pack(PathBuf),
    /// A file that the loader gets as it is.
    File(PathBuf),
}

impl Root {
    /// Opens the file for the loader.
    pub fn open(&self) -> Result<File> {
        match self {
            Root::Pack(path) => open(path),
            Root::File(path) => {
                File::open(path).with_context(|| format!("cannot open {}", path.display()))
            }
        }
    }
}

/// Opens the tar archive that `path` means: a directory is packed, a compressed archive is unpacked, into
/// a file that is gone when it is closed; an archive is taken as it is.
pub fn open(path: &Path) -> Result<File> {
    if path.is_dir() {
        let mut file = temporary()?;
        write(path, BufWriter::new(&mut file))?;
        file.rewind()?;
        return Ok(file);
    }
    let mut file =
        File::open(path).with_context(|| format!("cannot open the root {}", path.display()))?;
    if !file.metadata()?.is_file() {
        bail!("the root {} is neither a directory nor an archive", path.display());
    }
    let mut magic = [0; 2];
    let compressed = file.read(&mut magic)? == magic.len() && magic == GZIP;
    file.rewind()?;
    if !compressed {
        return Ok(file);
    }
    let mut unpacked = temporary()?;
    io::copy(&mut MultiGzDecoder::new(BufReader::new(file)), &mut unpacked)
        .with_context(|| format!("cannot decompress the root {}", path.display()))?;
    unpacked.rewind()?;
    Ok(unpacked)
}

/// Writes the tar archive that `path` means.
pub fn write(path: &Path, to: impl Write) -> Result<()> {
    let mut to = to;
    if path.is_dir() {
        let mut builder = tar::Builder::new(&mut to);
        pack::directory(path, &mut builder)?;
        builder.finish().context("cannot end the root archive")?;
    } else {
        io::copy(&mut open(path)?, &mut to)
            .with_context(|| format!("cannot copy the root {}", path.display()))?;
    }
    to.flush().context("cannot write the root archive")
}

/// Fails when `path` is no root that a program could start with, before anything is built for it.
/// Damage of an archive is told as the kernel would tell it.
pub fn check(path: &Path) -> Result<()> {
    let metadata =
        fs::metadata(path).with_context(|| format!("cannot find the root {}", path.display()))?;
    if metadata.is_dir() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    open(path)?
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the root {}", path.display()))?;
    if let Some(damage) = skete_archive::entries(&bytes).find_map(Result::err) {
        let mut why = String::new();
        damage.describe(&mut |text| why.push_str(text));
        bail!("the root {} cannot be used: {why}", path.display());
    }
    Ok(())
}

fn temporary() -> Result<File> {
    tempfile::tempfile().context("cannot make a file for the root archive")
}

#[cfg(test)]
mod tests;
