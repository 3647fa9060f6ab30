//! Files. One tree in memory, for the time being: what is written lasts as long as the machine.

mod archive;
mod bytes;
mod device;
mod disk;
mod drivers;
mod host;
mod lock;
mod names;
mod node;
mod open;
pub mod path;
mod report;
mod room;
mod streams;
mod tree;
mod walk;

pub use archive::unpack;
pub use drivers::allow as allow_devices;
pub use lock::Lock;
pub use node::{Entry, Kind, Metadata};
pub use tree::Tree;

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::fd::Object;
use crate::sync::Mutex;
use crate::{Error, Result};

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of open(2), each on its own")]
pub struct Options {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Make the file when it is not there.
    pub create: bool,
    /// Fail when it is there (with `create`).
    pub exclusive: bool,
    /// Empty it.
    pub truncate: bool,
    /// Fail unless it is a directory.
    pub directory: bool,
    /// Fail if it is a symbolic link.
    pub no_follow: bool,
    /// Permission bits of a new file.
    pub mode: u32,
}

static TREE: Mutex<Option<Tree>> = Mutex::new(None);

/// Where relative paths start: an absolute path without `.` and `..`; empty for the root. Apart from the
/// tree: a program that only asks where it is has no file system.
static CURRENT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Does something with the tree, which is made when it is first needed, and a path, made absolute.
fn at<T>(path: &[u8], work: impl FnOnce(&mut Tree, &[u8]) -> Result<T>) -> Result<T> {
    let path = absolute(path)?;
    let mut slot = TREE.lock();
    let tree = match &mut *slot {
        Some(tree) => tree,
        None => {
            let mut tree = Tree::new()?;
            tree.make_directory(b"/tmp", 0o1777)?;
            tree.add_devices()?;
            tree.add_reports()?;
            archive::mount(&tree);
            make_mount_points(&mut tree);
            slot.insert(tree)
        }
    };
    work(tree, &path)
}

/// Directories for the host's files, so that they are seen in the directories above.
fn make_mount_points(tree: &mut Tree) {
    for mount in host::mounts() {
        let ends = mount.iter().enumerate().skip(1);
        let ends = ends.filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([mount.len()]) {
            // What is there already serves as well.
            let _ = tree.make_directory(&mount[..end], 0o755);
        }
    }
}

/// The host's file that a path leads to, if it is one.
fn on_host(path: &[u8]) -> Result<Option<host::Place>> {
    Ok(host::find(&absolute(path)?))
}

/// The host's files that both paths lead to; an error when only one of them does.
fn both_on_host(from: &[u8], to: &[u8]) -> Result<Option<(host::Place, host::Place)>> {
    match (on_host(from)?, on_host(to)?) {
        (None, None) => Ok(None),
        (Some(from), Some(to)) => Ok(Some((from, to))),
        _ => Err(Error::OtherDevice),
    }
}

fn absolute(path: &[u8]) -> Result<Cow<'_, [u8]>> {
    path::check(path)?;
    if path.starts_with(b"/") {
        return Ok(Cow::Borrowed(path));
    }
    let current = CURRENT.lock();
    let mut absolute = Vec::new();
    room::borrow(&mut absolute, current.len() + 1 + path.len())?;
    absolute.extend_from_slice(&current);
    absolute.push(b'/');
    absolute.extend_from_slice(path);
    Ok(Cow::Owned(absolute))
}

/// The directory where relative paths start.
///
/// # Errors
///
/// [`Error::NotFound`] when it is gone; [`Error::NoSpace`].
pub fn current_directory() -> Result<Vec<u8>> {
    let mut path = Vec::new();
    {
        let current = CURRENT.lock();
        room::borrow(&mut path, current.len().max(1))?;
        path.extend_from_slice(if current.is_empty() { b"/" } else { &current });
    }
    at(&path, |tree, path| tree.find(path).map(drop))?;
    Ok(path)
}

/// Lets relative paths start elsewhere.
///
/// # Errors
///
/// Those of chdir(2).
pub fn set_current_directory(path: &[u8]) -> Result<()> {
    let mut canonical = at(path, |tree, path| {
        if tree.find(path)?.kind() != Kind::Directory {
            return Err(Error::NotADirectory);
        }
        tree.canonical(path)
    })?;
    if canonical == b"/" {
        canonical.clear();
    }
    *CURRENT.lock() = canonical;
    Ok(())
}

/// The absolute path, without `.` and `..`, of what a path leads to.
///
/// # Errors
///
/// Those of realpath(3).
pub fn canonical(path: &[u8]) -> Result<Vec<u8>> {
    if let Some(place) = on_host(path)? {
        place.metadata(true)?;
        return Ok(place.path());
    }
    drivers::come_up(path);
    at(path, |tree, path| tree.canonical(path))
}

/// Opens a file, a directory or a device, which comes up when its name is used for the first time.
///
/// # Errors
///
/// Those of open(2); [`Error::NotFound`] for a device that the machine does not have, also with `create`.
pub fn open(path: &[u8], mut options: Options) -> Result<Arc<dyn Object>> {
    if drivers::come_up(path) && options.create {
        // Bytes that are meant to last are not to end up in a new file in memory.
        if options.exclusive {
            metadata(path)?;
            return Err(Error::AlreadyExists);
        }
        options.create = false;
    }
    open_known(path, options)
}

/// As [`open`], without a look for devices: a program that opens nothing else holds none of their names.
///
/// # Errors
///
/// As for [`open`].
pub fn open_known(path: &[u8], options: Options) -> Result<Arc<dyn Object>> {
    if let Some(place) = on_host(path)? {
        return place.open(options);
    }
    at(path, |tree, path| tree.open(path, options))
}

/// What there is to know about what a path leads to.
///
/// # Errors
///
/// Those of stat(2).
pub fn metadata(path: &[u8]) -> Result<Metadata> {
    if let Some(place) = on_host(path)? {
        return place.metadata(true);
    }
    drivers::come_up(path);
    at(path, |tree, path| Ok(tree.find(path)?.metadata()))
}

/// What there is to know about what a path leads to; about a symbolic link itself, when that is its last name.
///
/// # Errors
///
/// Those of lstat(2).
pub fn link_metadata(path: &[u8]) -> Result<Metadata> {
    if let Some(place) = on_host(path)? {
        return place.metadata(false);
    }
    drivers::come_up(path);
    at(path, |tree, path| Ok(tree.find_link(path)?.metadata()))
}

/// Changes the permission bits of what a path leads to.
///
/// # Errors
///
/// Those of chmod(2).
pub fn set_mode(path: &[u8], mode: u32) -> Result<()> {
    if let Some(place) = on_host(path)? {
        return place.set_mode(mode);
    }
    at(path, |tree, path| {
        tree.find(path)?.set_mode(mode);
        Ok(())
    })
}

/// Changes the times of what a path leads to; see [`Object::set_times`].
///
/// # Errors
///
/// Those of utimensat(2).
pub fn set_times(path: &[u8], accessed: Option<i64>, modified: Option<i64>) -> Result<()> {
    if let Some(place) = on_host(path)? {
        return place.set_times(accessed, modified);
    }
    at(path, |tree, path| {
        tree.find(path)?.set_times(accessed, modified);
        Ok(())
    })
}

/// As [`set_times`]; of a symbolic link itself, when that is the path's last name.
///
/// # Errors
///
/// Those of utimensat(2).
pub fn set_link_times(path: &[u8], accessed: Option<i64>, modified: Option<i64>) -> Result<()> {
    if let Some(place) = on_host(path)? {
        return match place.metadata(false)?.kind {
            Kind::Link => Err(Error::Unsupported),
            _ => place.set_times(accessed, modified),
        };
    }
    at(path, |tree, path| {
        tree.find_link(path)?.set_times(accessed, modified);
        Ok(())
    })
}

/// Makes a symbolic link: a name that stands for the path `target`.
///
/// # Errors
///
/// Those of symlink(2).
pub fn make_link(target: &[u8], path: &[u8]) -> Result<()> {
    if let Some(place) = on_host(path)? {
        return place.make_link(target);
    }
    at(path, |tree, path| tree.make_link(target, path))
}

/// The path that a symbolic link stands for.
///
/// # Errors
///
/// Those of readlink(2).
pub fn read_link(path: &[u8]) -> Result<Vec<u8>> {
    if let Some(place) = on_host(path)? {
        return place.read_link();
    }
    at(path, |tree, path| tree.read_link(path))
}

/// Gives a file another name beside the one it has.
///
/// # Errors
///
/// Those of link(2).
pub fn link(from: &[u8], to: &[u8]) -> Result<()> {
    if let Some((from, to)) = both_on_host(from, to)? {
        return from.link(&to);
    }
    let to = absolute(to)?;
    at(from, |tree, from| tree.link(from, &to))
}

/// Makes a directory.
///
/// # Errors
///
/// Those of mkdir(2).
pub fn make_directory(path: &[u8], mode: u32) -> Result<()> {
    if let Some(place) = on_host(path)? {
        return place.make_directory();
    }
    at(path, |tree, path| tree.make_directory(path, mode))
}

/// Removes an empty directory.
///
/// # Errors
///
/// Those of rmdir(2).
pub fn remove_directory(path: &[u8]) -> Result<()> {
    if let Some(place) = on_host(path)? {
        return match place.metadata(false)?.kind {
            Kind::Directory => place.remove(),
            _ => Err(Error::NotADirectory),
        };
    }
    at(path, |tree, path| tree.remove_directory(path))
}

/// Removes a file's name. What is open stays until it is closed.
///
/// # Errors
///
/// Those of unlink(2).
pub fn remove_file(path: &[u8]) -> Result<()> {
    if let Some(place) = on_host(path)? {
        return match place.metadata(false)?.kind {
            Kind::Directory => Err(Error::IsADirectory),
            _ => place.remove(),
        };
    }
    at(path, |tree, path| tree.remove_file(path))
}

/// Gives a file or directory another name, in place of what had that name.
///
/// # Errors
///
/// Those of rename(2).
pub fn rename(from: &[u8], to: &[u8]) -> Result<()> {
    if let Some((from, to)) = both_on_host(from, to)? {
        return from.rename(&to);
    }
    let to = absolute(to)?;
    at(from, |tree, from| tree.rename(from, &to))
}
