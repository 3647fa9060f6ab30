//! From a path to what it leads to (POSIX, 4.16; Linux, path_resolution(7)).

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use super::node::Node;
use super::path::{self, LONGEST_NAME};
use super::room;
use crate::{Error, Result};

/// Symbolic links on one way, at most.
const MOST_LINKS: u32 = 40;

/// Whether a symbolic link that is the last name of a path is followed; all others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// It is.
    Always,
    /// Only when a slash stands behind it.
    BeforeSlash,
    /// Only when no slash stands behind it.
    UnlessSlash,
    /// It is not: the path is about the name itself.
    Never,
}

/// The last name of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// There is none: the path leads to the root.
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// A name of its own, at this place in the text.
    Name(Range<usize>),
}

/// Where a path leads to.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The way from the root to the directory that holds, or would hold, the last name; to what is meant itself,
    /// when that has no name of its own.
    pub(super) way: Vec<Arc<Node>>,
    /// The path, with links replaced by what they stand for.
    text: Cow<'a, [u8]>,
    pub(super) last: Last,
    /// A slash stands behind the last name.
    pub(super) slash: bool,
}

impl Place<'_> {
    /// The last directory on the way.
    pub(super) fn directory(&self) -> &Arc<Node> {
        self.way.last().expect("the way begins at the root")
    }

    /// The name in that directory, when there is one.
    pub(super) fn name(&self) -> Option<&[u8]> {
        match &self.last {
            Last::Name(range) => Some(&self.text[range.clone()]),
            _ => None,
        }
    }

    /// What is there.
    ///
    /// # Errors
    ///
    /// [`Error::NameTooLong`].
    pub(super) fn node(&self) -> Result<Option<Arc<Node>>> {
        match self.name() {
            None => Ok(Some(self.directory().clone())),
            Some(name) => look(self.directory(), name),
        }
    }

    /// What is there, which has to be a directory when a slash stands behind it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::NameTooLong`].
    pub(super) fn existing(&self) -> Result<Arc<Node>> {
        let node = self.node()?.ok_or(Error::NotFound)?;
        if self.slash {
            node.names()?;
        }
        Ok(node)
    }

    /// Gives the name a meaning.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`]: nothing has changed.
    pub(super) fn put(&self, node: Arc<Node>) -> Result<()> {
        let name = self.name().ok_or(Error::AlreadyExists)?;
        self.directory().names()?.lock().insert(name, node)?;
        self.directory().content_changed();
        Ok(())
    }

    /// Takes the name away.
    pub(super) fn take(&self) -> Result<()> {
        let name = self.name().ok_or(Error::Busy)?;
        // The node is dropped after the directory's lock.
        let taken = self.directory().names()?.lock().remove(name);
        self.directory().content_changed();
        drop(taken);
        Ok(())
    }

    /// The path from the root, without `.`, `..` and links, to what is there.
    ///
    /// # Errors
    ///
    /// As for [`Place::existing`]; [`Error::NoSpace`].
    pub(super) fn canonical(&self) -> Result<Vec<u8>> {
        self.existing()?;
        let mut canonical = Vec::new();
        let mut push = |name: &[u8]| {
            room::borrow(&mut canonical, 1 + name.len())?;
            canonical.push(b'/');
            canonical.extend_from_slice(name);
            Ok(())
        };
        for pair in self.way.windows(2) {
            let names = pair[0].names()?.lock();
            push(names.name_of(&pair[1]).ok_or(Error::NotFound)?)?;
        }
        if let Some(name) = self.name() {
            push(name)?;
        }
        if canonical.is_empty() {
            canonical.push(b'/');
        }
        Ok(canonical)
    }
}

fn look(directory: &Node, name: &[u8]) -> Result<Option<Arc<Node>>> {
    if name.len() > LONGEST_NAME {
        return Err(Error::NameTooLong);
    }
    Ok(directory.names()?.lock().get(name).cloned())
}

/// Walks from the root along a path; `..` above the root stays at the root.
///
/// # Errors
///
/// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::NameTooLong`], [`Error::Loop`], [`Error::NoSpace`].
pub(super) fn walk<'a>(root: &Arc<Node>, path: &'a [u8], follow: Follow) -> Result<Place<'a>> {
    let mut text = Cow::Borrowed(path);
    let mut at = 0;
    let mut links = 0;
    let mut last = Last::Root;
    let mut way = Vec::new();
    room::borrow(&mut way, 8)?;
    way.push(root.clone());
    while let Some(name) = path::next_name(&text, at) {
        let directory = way.last().expect("the root stays");
        directory.names()?;
        match &text[name.clone()] {
            b"." => {
                (last, at) = (Last::Dot, name.end);
                continue;
            }
            b".." => {
                way.truncate((way.len() - 1).max(1));
                (last, at) = (Last::DotDot, name.end);
                continue;
            }
            _ => {}
        }
        let rest = &text[name.end..];
        let is_last = rest.iter().all(|byte| *byte == b'/');
        let slash = is_last && !rest.is_empty();
        let stay = match follow {
            Follow::Always => false,
            Follow::BeforeSlash => !slash,
            Follow::UnlessSlash => slash,
            Follow::Never => true,
        };
        if is_last && stay {
            return Ok(Place { way, text, last: Last::Name(name), slash });
        }
        let node = look(directory, &text[name.clone()])?;
        if let Some(target) = node.as_ref().and_then(|node| node.target()) {
            links += 1;
            if links > MOST_LINKS {
                return Err(Error::Loop);
            }
            if target.starts_with(b"/") {
                way.truncate(1);
            }
            let mut joined = Vec::new();
            room::borrow(&mut joined, target.len() + rest.len())?;
            joined.extend_from_slice(target);
            joined.extend_from_slice(rest);
            (text, at, last) = (Cow::Owned(joined), 0, Last::Root);
            continue;
        }
        if is_last {
            return Ok(Place { way, text, last: Last::Name(name), slash });
        }
        room::borrow(&mut way, 1)?;
        way.push(node.ok_or(Error::NotFound)?);
        at = name.end;
    }
    Ok(Place { way, text, last, slash: false })
}
