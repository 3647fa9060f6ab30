//! The tree of names.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::device::Device;
use super::drivers::Driver;
use super::node::{Content, Kind, Node};
use super::open::OpenFile;
use super::report::{self, Report};
use super::walk::{Follow, Last, Place, walk};
use super::{Options, path, room};
use crate::fd::Object;
use crate::text::Text;
use crate::{Error, Result};

/// The memory file system's names. Paths start at its root, whether or not they begin with a slash.
#[derive(Debug)]
pub struct Tree {
    root: Arc<Node>,
}

impl Tree {
    /// An empty root.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`].
    pub fn new() -> Result<Tree> {
        Ok(Tree { root: Node::directory(0o755)? })
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
            self.new_place(path.as_bytes())?.put(Node::device(device)?)?;
        }
        Ok(())
    }

    /// Gives a device of the machine a name.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`] when something has it; [`Error::NoSpace`].
    pub(super) fn add_driver(&mut self, path: &[u8], driver: &'static dyn Driver) -> Result<()> {
        self.new_place(path)?.put(Node::driver(driver)?)
    }

    /// Makes `/proc` with its reports.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`].
    pub fn add_reports(&mut self) -> Result<()> {
        self.make_directory(b"/proc", 0o555)?;
        self.make_directory(Report::PROCESS.as_bytes(), 0o555)?;
        for (path, report) in Report::ALL {
            self.new_place(path.as_bytes())?.put(Node::report(report)?)?;
        }
        self.make_link(b"1", Report::SELF.as_bytes())?;
        let mut program = Text::new();
        program.text("/").text(report::name());
        self.make_link(&program.finish()?, b"/proc/1/exe")
    }

    fn walk<'a>(&self, path: &'a [u8], follow: Follow) -> Result<Place<'a>> {
        if path.is_empty() {
            return Err(Error::NotFound);
        }
        walk(&self.root, path, follow)
    }

    /// A place for a name that is not there yet and will not stand for a directory.
    fn new_place<'a>(&self, path: &'a [u8]) -> Result<Place<'a>> {
        let place = self.walk(path, Follow::Never)?;
        if place.node()?.is_some() {
            return Err(Error::AlreadyExists);
        }
        if place.slash {
            return Err(Error::NotFound);
        }
        Ok(place)
    }

    /// What a path leads to.
    ///
    /// # Errors
    ///
    /// Those of stat(2).
    pub fn find(&self, path: &[u8]) -> Result<Arc<Node>> {
        self.walk(path, Follow::Always)?.existing()
    }

    /// What a path leads to; a symbolic link itself, when that is its last name.
    ///
    /// # Errors
    ///
    /// Those of lstat(2).
    pub fn find_link(&self, path: &[u8]) -> Result<Arc<Node>> {
        self.walk(path, Follow::BeforeSlash)?.existing()
    }

    /// The path from the root, without `.`, `..` and symbolic links, to what a path leads to.
    ///
    /// # Errors
    ///
    /// Those of realpath(3).
    pub fn canonical(&self, path: &[u8]) -> Result<Vec<u8>> {
        self.walk(path, Follow::Always)?.canonical()
    }

    /// The path that a symbolic link stands for.
    ///
    /// # Errors
    ///
    /// Those of readlink(2).
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>> {
        let node = self.find_link(path)?;
        let target = node.target().ok_or(Error::InvalidArgument)?;
        let mut own = Vec::new();
        room::borrow(&mut own, target.len())?;
        own.extend_from_slice(target);
        Ok(own)
    }

    /// Opens a file or directory; see [`super::open`].
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn open(&mut self, path: &[u8], options: Options) -> Result<Arc<dyn Object>> {
        let exclusive = options.create && options.exclusive;
        let follow = match (options.create, exclusive || options.no_follow) {
            (true, true) => Follow::Never,
            (true, false) => Follow::UnlessSlash,
            (false, true) => Follow::BeforeSlash,
            (false, false) => Follow::Always,
        };
        let place = self.walk(path, follow)?;
        if options.create && place.slash {
            return Err(Error::IsADirectory);
        }
        let (node, new) = match place.node()? {
            Some(_) if exclusive => return Err(Error::AlreadyExists),
            Some(node) => (node, false),
            None if options.create => (Node::file(options.mode)?, true),
            None => return Err(Error::NotFound),
        };
        let writes = options.write || options.truncate;
        match node.kind() {
            Kind::Directory if writes || options.create => return Err(Error::IsADirectory),
            Kind::Directory => {}
            _ if options.directory || place.slash => return Err(Error::NotADirectory),
            Kind::Link => return Err(Error::Loop),
            _ if writes && !new && !node.is_writable() => return Err(Error::PermissionDenied),
            Kind::File | Kind::Device | Kind::Disk => {}
        }
        let file = OpenFile::open(node.clone(), options)?;
        if let Content::Driver(driver) = &node.content {
            return driver.open(file, options);
        }
        if new {
            place.put(node)?;
        } else if options.truncate && node.kind() == Kind::File {
            node.set_length(0)?;
        }
        Ok(file)
    }

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// Those of mkdir(2).
    pub fn make_directory(&mut self, path: &[u8], mode: u32) -> Result<()> {
        let place = self.walk(path, Follow::Never)?;
        if place.node()?.is_some() {
            return Err(Error::AlreadyExists);
        }
        place.put(Node::directory(mode)?)
    }

    /// Makes a symbolic link: a name that stands for the path `target`, whether or not that leads anywhere.
    ///
    /// # Errors
    ///
    /// Those of symlink(2).
    pub fn make_link(&mut self, target: &[u8], path: &[u8]) -> Result<()> {
        path::check(target)?;
        self.new_place(path)?.put(Node::link(target)?)
    }

    /// Gives what has the name `from` the name `to` as well.
    ///
    /// # Errors
    ///
    /// Those of link(2); [`Error::NotPermitted`] for a directory.
    pub fn link(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let node = self.find_link(from)?;
        let place = self.new_place(to)?;
        if node.kind() == Kind::Directory {
            return Err(Error::NotPermitted);
        }
        place.put(node.clone())?;
        node.linked();
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// Those of rmdir(2).
    pub fn remove_directory(&mut self, path: &[u8]) -> Result<()> {
        let place = self.walk(path, Follow::Never)?;
        match place.last {
            Last::Dot => return Err(Error::InvalidArgument),
            Last::DotDot => return Err(Error::DirectoryNotEmpty),
            Last::Root => return Err(Error::Busy),
            Last::Name(_) => {}
        }
        let node = place.node()?.ok_or(Error::NotFound)?;
        if node.names()?.lock().len() > 0 {
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
        let place = self.walk(path, Follow::Never)?;
        let node = place.node()?.ok_or(Error::NotFound)?;
        if node.kind() == Kind::Directory {
            return Err(Error::IsADirectory);
        }
        if place.slash {
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
        let old = self.walk(from, Follow::Never)?;
        let new = self.walk(to, Follow::Never)?;
        if old.name().is_none() || new.name().is_none() {
            return Err(Error::Busy);
        }
        let node = old.node()?.ok_or(Error::NotFound)?;
        let replaced = new.node()?;
        let directory = node.kind() == Kind::Directory;
        if !directory && (old.slash || new.slash) {
            return Err(Error::NotADirectory);
        }
        let holds = |place: &Place<'_>, node| place.way.iter().any(|step| Arc::ptr_eq(step, node));
        if holds(&new, &node) {
            return Err(Error::InvalidArgument);
        }
        if let Some(there) = &replaced {
            if holds(&old, there) {
                return Err(Error::DirectoryNotEmpty);
            }
            if Arc::ptr_eq(there, &node) {
                return Ok(());
            }
            match (directory, there.names()) {
                (true, Err(_)) => return Err(Error::NotADirectory),
                (false, Ok(_)) => return Err(Error::IsADirectory),
                (true, Ok(names)) if names.lock().len() > 0 => {
                    return Err(Error::DirectoryNotEmpty);
                }
                _ => {}
            }
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
