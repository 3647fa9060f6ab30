//! Packs a directory: the same tree gives the same archive, byte for byte.
//!
//! Entries are sorted by name and carry permission bits and times in seconds, but no owners. Headers are
//! ustar's; names that do not fit stand in pax headers, which other readers of Hermit images step over.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tar::{Builder, EntryType, Header};
use walkdir::WalkDir;

/// Adds everything in `directory` to an archive. What an archive of files cannot hold is an error that
/// names it.
pub fn directory(directory: &Path, archive: &mut Builder<impl Write>) -> Result<()> {
    // Where a file with several names was packed, by device and number.
    let mut linked: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let entries = WalkDir::new(directory).min_depth(1).sort_by_file_name().follow_root_links(true);
    for entry in entries {
        let entry = entry.context("cannot list the root")?;
        let path = entry.path();
        let name = path.strip_prefix(directory).unwrap_or(path);
        let metadata = fs::symlink_metadata(path)
            .with_context(|| format!("cannot look at {}", path.display()))?;
        let kind = metadata.file_type();
        let added = if kind.is_dir() {
            add(archive, EntryType::Directory, name, &metadata, None, io::empty())
        } else if kind.is_symlink() {
            let target = fs::read_link(path)
                .with_context(|| format!("cannot read the link {}", path.display()))?;
            add(archive, EntryType::Symlink, name, &metadata, Some(&target), io::empty())
        } else if kind.is_file() {
            let first = (metadata.nlink() > 1)
                .then(|| linked.entry((metadata.dev(), metadata.ino())))
                .map(|place| place.or_insert_with(|| name.to_path_buf()).clone())
                .filter(|first| first != name);
            match first {
                Some(first) => {
                    add(archive, EntryType::Link, name, &metadata, Some(&first), io::empty())
                }
                None => file(archive, path, name),
            }
        } else {
            let what = match kind {
                kind if kind.is_socket() => "a socket",
                kind if kind.is_fifo() => "a pipe",
                _ => "a device",
            };
            bail!(
                "{} is {what}, which a root cannot hold: remove it, or pack without it",
                path.display()
            );
        };
        added.with_context(|| format!("cannot pack {}", path.display()))?;
    }
    Ok(())
}

fn file(archive: &mut Builder<impl Write>, path: &Path, name: &Path) -> Result<()> {
    let file = File::open(path)?;
    // Of the open file: the name may stand for another one by now.
    let metadata = file.metadata()?;
    let mut content = Exact { left: metadata.len(), file };
    add(archive, EntryType::Regular, name, &metadata, None, &mut content)?;
    if content.file.read(&mut [0])? > 0 {
        bail!("it grows while it is packed");
    }
    Ok(())
}

/// Adds a file whose content is at hand.
pub fn bytes(archive: &mut Builder<impl Write>, name: &str, content: &[u8]) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    append(archive, EntryType::Regular, Path::new(name), header, None, content)
}

fn add(
    archive: &mut Builder<impl Write>,
    kind: EntryType,
    name: &Path,
    metadata: &Metadata,
    target: Option<&Path>,
    content: impl Read,
) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_size(if kind == EntryType::Regular { metadata.len() } else { 0 });
    append(archive, kind, name, header, target, content)
}

fn append(
    archive: &mut Builder<impl Write>,
    kind: EntryType,
    name: &Path,
    mut header: Header,
    target: Option<&Path>,
    content: impl Read,
) -> Result<()> {
    header.set_entry_type(kind);
    header.set_uid(0);
    header.set_gid(0);
    let mut name = name.as_os_str().as_bytes().to_vec();
    if kind == EntryType::Directory {
        name.push(b'/');
    }
    let target = target.map(|target| target.as_os_str().as_bytes());
    let mut records = Vec::new();
    if header.set_path(Path::new(std::ffi::OsStr::from_bytes(&name))).is_err() {
        records.push(("path", &name[..]));
        // For programs that do not read the record.
        let short = &name[..name.len().min(100)];
        header.as_mut_bytes()[..short.len()].copy_from_slice(short);
    }
    if let Some(target) = target
        && header.set_link_name_literal(target).is_err()
    {
        records.push(("linkpath", target));
    }
    archive.append_pax_extensions(records)?;
    header.set_cksum();
    archive.append(&header, content)?;
    Ok(())
}

/// As many bytes of a file as its header promises.
struct Exact {
    file: File,
    left: u64,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = buffer.len().min(most);
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it shrinks while it is packed",
            ));
        }
        self.left -= count as u64;
        Ok(count)
    }
}
