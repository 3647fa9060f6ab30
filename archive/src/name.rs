//! Names of entries.

use crate::Problem;

/// The longest component, in bytes, as of file systems.
const LONGEST_COMPONENT: usize = 255;
/// The longest name, in bytes: PATH_MAX less the slash in front and the NUL behind.
const LONGEST_NAME: usize = 4094;

/// The name of an entry: a path in up to two parts, between which a slash is to be thought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    prefix: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Name<'a> {
    pub(crate) const fn new(prefix: &'a [u8], rest: &'a [u8]) -> Self {
        Self { prefix, rest }
    }

    /// The names on the way from the root, without empty ones and `.`.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + Clone + use<'a> {
        let split = |part: &'a [u8]| part.split(|byte| *byte == b'/');
        split(self.prefix)
            .chain(split(self.rest))
            .filter(|component| !component.is_empty() && *component != b".")
    }

    /// Whether it ends in a slash.
    pub(crate) fn means_directory(&self) -> bool {
        self.rest.ends_with(b"/")
    }

    /// Whether it can be the name of something in a tree.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let first = [self.prefix, self.rest].into_iter().find(|part| !part.is_empty());
        if first.is_none() {
            return Err(Problem::NoName);
        }
        if first.is_some_and(|part| part.starts_with(b"/")) {
            return Err(Problem::Absolute);
        }
        if self.rest.contains(&0) {
            return Err(Problem::Nul);
        }
        let mut length = 0;
        for component in self.components() {
            if component == b".." {
                return Err(Problem::Upward);
            }
            length += component.len() + 1;
            if component.len() > LONGEST_COMPONENT || length > LONGEST_NAME {
                return Err(Problem::LongName);
            }
        }
        Ok(())
    }

    /// Writes the name as text, piece by piece; what is not printable comes as `?`.
    pub fn write(&self, write: &mut dyn FnMut(&str)) {
        write_printable(self.prefix, write);
        if !self.prefix.is_empty() {
            write("/");
        }
        write_printable(self.rest, write);
    }
}

fn write_printable(bytes: &[u8], write: &mut dyn FnMut(&str)) {
    for chunk in bytes.utf8_chunks() {
        for piece in chunk.valid().split_inclusive(char::is_control) {
            let printable = piece.trim_end_matches(char::is_control);
            write(printable);
            if printable.len() < piece.len() {
                write("?");
            }
        }
        if !chunk.invalid().is_empty() {
            write("?");
        }
    }
}
