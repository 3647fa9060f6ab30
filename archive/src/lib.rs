//! Reads tar archives in place: nothing is copied, nothing is allocated, and no input makes it panic.
//!
//! The formats are ustar and pax (POSIX.1-2017, pax, "EXTENDED DESCRIPTION") and GNU tar's, with long
//! names in either way. An archive is an initial file tree, so the reader is strict: what a tree could not
//! hold (devices), or what would be lost in silence (content that breaks off, a second archive behind the
//! end), is [`Damage`], which says what is wrong and where.
//!
//! The kernel makes its tree from [`entries`], the loader looks for files in one, and the tools check one
//! before a machine is started.

#![no_std]
#![forbid(unsafe_code)]

mod damage;
mod header;
mod name;
mod pax;

pub use damage::{Damage, Problem};
pub use header::BLOCK;
pub use name::Name;

use header::Header;

/// The most bytes that an extended header or a long name may have: far more than any path that can be
/// opened.
const LONGEST_EXTENSION: usize = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A file with this content.
    File(&'a [u8]),
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Symlink(&'a [u8]),
    /// Another name of a file that an earlier entry holds.
    HardLink(Name<'a>),
}

/// A file, directory or link of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where its header lies, in bytes from the start of the archive.
    pub offset: usize,
    /// Its name: relative, without `..`.
    pub name: Name<'a>,
    /// What it is.
    pub kind: Kind<'a>,
    /// Permission bits.
    pub mode: u32,
    /// When its content last changed, in nanoseconds since 1970.
    pub modified: i64,
}

impl<'a> Entry<'a> {
    /// This entry as the place of a problem.
    #[must_use]
    pub const fn damage(&self, problem: Problem) -> Damage<'a> {
        Damage { offset: self.offset, name: Some(self.name), problem }
    }
}

/// The entries of an archive, in its order. The first damage ends it.
#[must_use]
pub const fn entries(archive: &[u8]) -> Entries<'_> {
    Entries { archive, offset: Some(0), end: None }
}

/// The content of the file with this name: components between slashes, of which `.` and empty ones do not
/// count. Of several entries the last one counts, as when the archive is unpacked.
///
/// # Errors
///
/// The archive's damage.
pub fn find<'a>(archive: &'a [u8], name: &[u8]) -> Result<Option<&'a [u8]>, Damage<'a>> {
    let wanted = Name::new(b"", name);
    let mut found = None;
    for entry in entries(archive) {
        let entry = entry?;
        if let Kind::File(content) = entry.kind
            && entry.name.components().eq(wanted.components())
        {
            found = Some(content);
        }
    }
    Ok(found)
}

/// See [`entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    archive: &'a [u8],
    /// Where the next header is; `None` behind the end.
    offset: Option<usize>,
    end: Option<usize>,
}

/// What the headers before an entry's own say about it.
#[derive(Default)]
struct Extension<'a> {
    name: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    size: Option<u64>,
    modified: Option<i64>,
    /// GNU tar's long name and target, which a pax header overrides.
    long_name: Option<&'a [u8]>,
    long_target: Option<&'a [u8]>,
    present: bool,
}

impl<'a> Entries<'a> {
    /// Where the mark of the archive's end begins, once all entries have been read without damage.
    #[must_use]
    pub const fn end(&self) -> Option<usize> {
        self.end
    }

    /// The next entry, or `None` at the archive's end.
    fn read(&mut self) -> Result<Option<Entry<'a>>, Damage<'a>> {
        let mut extension = Extension::default();
        // Each round reads one header and goes on behind its content.
        while let Some(offset) = self.offset.take() {
            let damage = |problem| Damage { offset, name: None, problem };
            let Some(block) = self.archive.get(offset..).and_then(<[u8]>::first_chunk) else {
                return Err(damage(match self.archive.len() {
                    0 => Problem::Empty,
                    1..BLOCK => Problem::NotTar,
                    _ => Problem::NoEnd,
                }));
            };
            let header = Header::new(block);
            if header.is_zero() {
                let rest = self.archive.get(offset..).unwrap_or_default();
                return match rest.iter().any(|byte| *byte != 0) {
                    true => Err(damage(Problem::Trailing)),
                    false if extension.present => Err(damage(Problem::LooseExtension)),
                    false => {
                        self.end = Some(offset);
                        Ok(None)
                    }
                };
            }
            if !header.has_valid_checksum() {
                return Err(damage(match offset {
                    0 => Problem::NotTar,
                    _ => Problem::Checksum,
                }));
            }
            let name = match extension.name.or(extension.long_name) {
                Some(name) => Name::new(b"", name),
                None => header.name(),
            };
            let damage = |problem| Damage { offset, name: Some(name), problem };
            let flag = header.flag();
            let stated = header.size().ok_or(damage(Problem::Number))?;
            let size = match (header.has_content(), extension.size) {
                (false, _) => 0,
                (true, Some(size)) if !matches!(flag, b'x' | b'g' | b'L' | b'K') => size,
                (true, _) => stated,
            };
            let content = self.content(offset, size).ok_or(damage(Problem::Size))?;
            self.offset = Some(offset + BLOCK + content.len().next_multiple_of(BLOCK));
            let short = content.len() <= LONGEST_EXTENSION;
            match flag {
                b'x' | b'g' | b'L' | b'K' if !short => return Err(damage(Problem::Extension)),
                // What a global header says holds for all files: nothing that a tree keeps.
                b'g' => pax::check(content).map_err(damage)?,
                b'x' => extension.read(content).map_err(damage)?,
                b'L' => extension.long_name = Some(header::text(content)),
                b'K' => extension.long_target = Some(header::text(content)),
                // The label of a volume.
                b'V' => {}
                _ => {
                    return self.entry(&header, offset, name, content, &extension).map(Some);
                }
            }
            extension.present |= matches!(flag, b'x' | b'L' | b'K');
        }
        Ok(None)
    }

    /// The content behind the header at `offset`, if it ends within the archive, padding included.
    fn content(&self, offset: usize, size: u64) -> Option<&'a [u8]> {
        let rest = self.archive.get(offset + BLOCK..)?;
        let size = usize::try_from(size).ok()?;
        (size.checked_next_multiple_of(BLOCK)? <= rest.len()).then(|| rest.get(..size))?
    }

    fn entry(
        &self,
        header: &Header<'a>,
        offset: usize,
        name: Name<'a>,
        content: &'a [u8],
        extension: &Extension<'a>,
    ) -> Result<Entry<'a>, Damage<'a>> {
        let damage = |problem| Damage { offset, name: Some(name), problem };
        let target = extension.target.or(extension.long_target).unwrap_or_else(|| header.target());
        let kind = match header.flag() {
            0 | b'0' | b'7' if name.means_directory() => match content {
                [] => Kind::Directory,
                _ => return Err(damage(Problem::DirectoryContent)),
            },
            0 | b'0' | b'7' => Kind::File(content),
            b'1' => Kind::HardLink(Name::new(b"", target)),
            b'2' if target.is_empty() || target.contains(&0) => {
                return Err(damage(Problem::LinkTarget));
            }
            b'2' => Kind::Symlink(target),
            b'5' => Kind::Directory,
            b'S' => return Err(damage(Problem::Sparse)),
            flag => return Err(damage(Problem::Kind(flag))),
        };
        name.check().map_err(damage)?;
        if name.components().next().is_none() && kind != Kind::Directory {
            return Err(damage(Problem::NoName));
        }
        if let Kind::HardLink(target) = kind {
            target.check().map_err(|_| damage(Problem::LinkTarget))?;
        }
        let modified = match extension.modified {
            Some(modified) => modified,
            None => {
                let seconds = header.modified().ok_or(damage(Problem::Number))?;
                seconds.saturating_mul(1_000_000_000)
            }
        };
        Ok(Entry {
            offset,
            name,
            kind,
            mode: header.mode().ok_or(damage(Problem::Number))? & 0o7777,
            modified,
        })
    }
}

impl<'a> Extension<'a> {
    /// Takes what a pax header says. A value that is empty takes back what an earlier header said.
    fn read(&mut self, content: &'a [u8]) -> Result<(), Problem> {
        for record in pax::Records::new(content) {
            let (key, value) = record?;
            let text = (!value.is_empty()).then_some(value);
            match key {
                b"path" => self.name = text,
                b"linkpath" => self.target = text,
                b"size" => {
                    self.size =
                        text.map(|text| pax::number(text).ok_or(Problem::Extension)).transpose()?;
                }
                b"mtime" => {
                    self.modified =
                        text.map(|text| pax::time(text).ok_or(Problem::Extension)).transpose()?;
                }
                key if key.starts_with(b"GNU.sparse.") => return Err(Problem::Sparse),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Damage<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.read();
        if !matches!(entry, Ok(Some(_))) {
            self.offset = None;
        }
        entry.transpose()
    }
}

impl core::iter::FusedIterator for Entries<'_> {}

#[cfg(test)]
mod tests;
