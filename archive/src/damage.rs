//! What can be wrong with an archive.

use crate::Name;

/// What is wrong with an archive, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage<'a> {
    /// Where the header in question lies, in bytes from the start of the archive.
    pub offset: usize,
    /// The entry's name, if it could be read.
    pub name: Option<Name<'a>>,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It has no bytes at all.
    Empty,
    /// It does not begin with a header.
    NotTar,
    /// A header's checksum is wrong.
    Checksum,
    /// It ends without the zeros that mark an archive's end.
    NoEnd,
    /// Something follows behind its end.
    Trailing,
    /// A number in a header cannot be read.
    Number,
    /// The content would end behind the archive's end.
    Size,
    /// An extended header cannot be read.
    Extension,
    /// An extended header belongs to no entry.
    LooseExtension,
    /// There is no name.
    NoName,
    /// The name begins with a slash.
    Absolute,
    /// The name has a `..` in it.
    Upward,
    /// The name has a NUL character in it.
    Nul,
    /// The name has more bytes than a path can have, or a component of it more than a name can have.
    LongName,
    /// A directory has content.
    DirectoryContent,
    /// A link's target is empty, or is no name that an entry can have.
    LinkTarget,
    /// A file with holes.
    Sparse,
    /// Neither file nor directory nor link: the type flag.
    Kind(u8),
    /// Two entries have this name.
    Duplicate,
    /// A directory is needed where an earlier entry put something else.
    NotADirectory,
    /// A file or link is where an earlier archive, or the system, has something else.
    InTheWay,
    /// A hard link to something that no earlier entry holds, or to a directory.
    MissingTarget,
    /// There is no memory for the tree.
    Memory,
}

impl Problem {
    /// What is wrong, as the end of a sentence.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Empty => "it is empty",
            Self::NotTar => "it does not begin with a tar header",
            Self::Checksum => "the header's checksum is wrong",
            Self::NoEnd => "it breaks off without an end",
            Self::Trailing => "something follows behind its end",
            Self::Number => "a number in the header cannot be read",
            Self::Size => "the content reaches past the end of the archive",
            Self::Extension => "the extended header cannot be read",
            Self::LooseExtension => "the extended header belongs to no entry",
            Self::NoName => "the entry has no name",
            Self::Absolute => "the name is absolute",
            Self::Upward => "the name leads out of the tree with `..`",
            Self::Nul => "the name has a NUL character in it",
            Self::LongName => "the name is too long",
            Self::DirectoryContent => "a directory has content",
            Self::LinkTarget => "the link's target is no name",
            Self::Sparse => "files with holes are not supported, pack without --sparse",
            Self::Kind(b'3' | b'4') => "it is a device, which a root cannot hold",
            Self::Kind(b'6') => "it is a pipe, which a root cannot hold",
            Self::Kind(_) => "the entry's type is unknown",
            Self::Duplicate => "the name occurs twice",
            Self::NotADirectory => "a directory is needed where an earlier entry is none",
            Self::InTheWay => "a directory or a device has this name already",
            Self::MissingTarget => "the hard link's target is no file of an earlier entry",
            Self::Memory => "memory is too small for it",
        }
    }
}

impl Damage<'_> {
    /// Writes what is wrong and where, piece by piece: no formatting machinery has to be in the program.
    /// Bytes of a name that are not printable text come as `?`.
    pub fn describe(&self, write: &mut dyn FnMut(&str)) {
        write(self.problem.text());
        write(" (byte ");
        let mut digits = [b'0'; 20];
        let mut rest = self.offset;
        let mut start = digits.len();
        for (index, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            start = index;
            if rest == 0 {
                break;
            }
        }
        let digits = digits.get(start..).unwrap_or_default();
        write(core::str::from_utf8(digits).unwrap_or_default());
        if let Some(name) = self.name {
            write(", `");
            name.write(write);
            write("`");
        }
        write(")");
    }
}
