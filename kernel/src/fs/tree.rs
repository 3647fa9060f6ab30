//! The tree of names.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::device::Device;
use super::node::{Kind, Node, OpenFile};
use super::path::Path;
use super::{Options, reserve};
use crate::fd::Object;
use crate::{Error, Result};

/// The memory file system's names.
#[derive(Debug)]
pub struct Tree {
    root: Arc<Node>,
}

/// Where a path leads: the way from the root to the directory, and the last name in it.
struct Place<'a> {
    way: Vec<Arc<Node>>,
    name: &'a [u8],
}

impl Place<'_> {
    fn directory(&self) -> &Arc<Node> {
        self.way.last().expect("the way begins at the root")
    }

    fn node(&self) -> Result<Option<Arc<Node>>> {
        Ok(self.directory().names()?.lock().get(self.name).cloned())
    }

    fn put(&self, node: Arc<Node>) -> Result<()> {
        let mut name = Vec::new();
        reserve(&mut name, self.name.len())?;
        name.extend_from_slice(self.name);
        self.directory().names()?.lock().insert(name, node);
        self.directory().content_changed();
        Ok(())
    }

    fn take(&self) -> Result<Option<Arc<Node>>> {
        let taken = self.directory().names()?.lock().remove(self.name);
        self.directory().content_changed();
        Ok(taken)
    }
}

impl Tree {
    /// An empty root.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`].
    pub fn new() -> Result<Tree> {
        Ok(Tree {
            root: Node::directory(0o755),
        })
    }

    /// The root directory.
    pub(super) const fn root(&self) -> &Arc<Node> {
        &self.root
    }

    /// Makes `/dev` with its devices.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`].
    pub fn add_devices(&mut self) -> Result<()> {
        self.make_directory(b"/dev", 0o755)?;
        for (path, device) in Device::ALL {
            let place = self.place(&Path::new(path.as_bytes())?)?;
            place.ok_or(Error::NotFound)?.put(Node::device(device))?;
        }
        Ok(())
    }

    /// Walks along names; `..` above the root stays at the root.
    fn walk<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Arc<Node>>> {
        let mut way = Vec::new();
        reserve(&mut way, 8)?;
        way.push(self.root.clone());
        for name in names {
            let node = way.last().expect("the root stays");
            if name == b".." {
                node.names()?;
                way.truncate((way.len() - 1).max(1));
                continue;
            }
            let next = node
                .names()?
                .lock()
                .get(name)
                .cloned()
                .ok_or(Error::NotFound)?;
            reserve(&mut way, 1)?;
            way.push(next);
        }
        Ok(way)
    }

    /// What a path leads to.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::NameTooLong`].
    pub fn find(&self, path: &[u8]) -> Result<Arc<Node>> {
        let path = Path::new(path)?;
        let node = self
            .walk(path.names())?
            .pop()
            .expect("the way begins at the root");
        if path.means_directory() {
            node.names()?;
        }
        Ok(node)
    }

    /// The path from the root, without `.` and `..`, to what an absolute path leads to.
    ///
    /// # Errors
    ///
    /// As for [`Tree::find`].
    pub fn canonical(&self, path: &[u8]) -> Result<Vec<u8>> {
        self.find(path)?;
        let mut canonical = Vec::new();
        reserve(&mut canonical, path.len() + 1)?;
        for name in Path::new(path)?.names() {
            if name == b".." {
                let parent = canonical
                    .iter()
                    .rposition(|byte| *byte == b'/')
                    .unwrap_or(0);
                canonical.truncate(parent);
            } else {
                canonical.push(b'/');
                canonical.extend_from_slice(name);
            }
        }
        if canonical.is_empty() {
            canonical.push(b'/');
        }
        Ok(canonical)
    }

    /// The directory that holds, or would hold, what a path leads to. `None` for the root, and for paths
    /// that end in `..`, which name no entry of their own.
    fn place<'a>(&self, path: &Path<'a>) -> Result<Option<Place<'a>>> {
        let mut names: Vec<&[u8]> = Vec::new();
        reserve(&mut names, path.names().count())?;
        names.extend(path.names());
        let Some(name) = names.pop().filter(|name| *name != b"..") else {
            return Ok(None);
        };
        let way = self.walk(names.into_iter())?;
        way[way.len() - 1].names()?;
        Ok(Some(Place { way, name }))
    }

    /// Opens a file or directory; see [`super::open`].
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn open(&mut self, path: &[u8], options: Options) -> Result<Arc<dyn Object>> {
        let parsed = Path::new(path)?;
        let place = self.place(&parsed)?;
        let existing = match &place {
            Some(place) => place.node()?,
            None => Some(self.find(path)?),
        };
        let new = existing.is_none();
        let node = match (existing, place) {
            (Some(_), _) if options.create && options.exclusive => {
                return Err(Error::AlreadyExists);
            }
            (Some(node), _) => node,
            (None, Some(place)) if options.create => {
                if parsed.means_directory() {
                    return Err(Error::IsADirectory);
                }
                let node = Node::file(options.mode);
                place.put(node.clone())?;
                node
            }
            _ => return Err(Error::NotFound),
        };
        match node.kind() {
            Kind::Directory if options.write || options.create || options.truncate => {
                return Err(Error::IsADirectory);
            }
            Kind::File | Kind::Device if options.directory || parsed.means_directory() => {
                return Err(Error::NotADirectory);
            }
            Kind::File | Kind::Device if options.write && !new && !node.is_writable() => {
                return Err(Error::PermissionDenied);
            }
            Kind::File if options.truncate && options.write => node.set_length(0)?,
            _ => {}
        }
        Ok(Arc::new(OpenFile::new(node, options)))
    }

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// Those of mkdir(2).
    pub fn make_directory(&mut self, path: &[u8], mode: u32) -> Result<()> {
        let parsed = Path::new(path)?;
        let Some(place) = self.place(&parsed)? else {
            self.find(path)?;
            return Err(Error::AlreadyExists);
        };
        if place.node()?.is_some() {
            return Err(Error::AlreadyExists);
        }
        place.put(Node::directory(mode))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// Those of rmdir(2).
    pub fn remove_directory(&mut self, path: &[u8]) -> Result<()> {
        let parsed = Path::new(path)?;
        match parsed.last_as_written() {
            b"." => return Err(Error::InvalidArgument),
            b".." => return Err(Error::DirectoryNotEmpty),
            b"" => return Err(Error::Busy),
            _ => {}
        }
        let place = self.place(&parsed)?.ok_or(Error::InvalidArgument)?;
        let node = place.node()?.ok_or(Error::NotFound)?;
        if !node.names()?.lock().is_empty() {
            return Err(Error::DirectoryNotEmpty);
        }
        place.take()?;
        node.unlinked();
        Ok(())
    }

    /// Removes a file's name.
    ///
    /// # Errors
    ///
    /// Those of unlink(2).
    pub fn remove_file(&mut self, path: &[u8]) -> Result<()> {
        let parsed = Path::new(path)?;
        let place = self.place(&parsed)?.ok_or(Error::IsADirectory)?;
        let node = place.node()?.ok_or(Error::NotFound)?;
        if node.kind() == Kind::Directory {
            return Err(Error::IsADirectory);
        }
        if parsed.means_directory() {
            return Err(Error::NotADirectory);
        }
        place.take()?;
        node.unlinked();
        Ok(())
    }

    /// Gives a file or directory another name.
    ///
    /// # Errors
    ///
    /// Those of rename(2).
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let (from, to) = (Path::new(from)?, Path::new(to)?);
        let is_dots = |path: &Path<'_>| matches!(path.last_as_written(), b"." | b".." | b"");
        if is_dots(&from) || is_dots(&to) {
            return Err(Error::Busy);
        }
        let old = self.place(&from)?.ok_or(Error::Busy)?;
        let new = self.place(&to)?.ok_or(Error::Busy)?;
        let node = old.node()?.ok_or(Error::NotFound)?;
        let directory = node.kind() == Kind::Directory;
        if !directory && (from.means_directory() || to.means_directory()) {
            return Err(Error::NotADirectory);
        }
        if directory && new.way.iter().any(|step| Arc::ptr_eq(step, &node)) {
            return Err(Error::InvalidArgument);
        }
        let replaced = new.node()?;
        match &replaced {
            Some(there) if Arc::ptr_eq(there, &node) => return Ok(()),
            Some(there) => match (directory, there.names()) {
                (true, Err(_)) => return Err(Error::NotADirectory),
                (false, Ok(_)) => return Err(Error::IsADirectory),
                (true, Ok(names)) if !names.lock().is_empty() => {
                    return Err(Error::DirectoryNotEmpty);
                }
                _ => {}
            },
            None => {}
        }
        // The new name first: if there is no room for it, the old one is still there.
        new.put(node)?;
        old.take()?;
        if let Some(there) = replaced {
            there.unlinked();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
