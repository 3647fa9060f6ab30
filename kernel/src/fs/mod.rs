//! Files. One tree in memory, for the time being: what is written lasts as long as the machine.

mod node;
pub mod path;
mod tree;

pub use node::{Entry, Kind, Metadata};
pub use tree::Tree;

use alloc::sync::Arc;

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
    /// Permission bits of a new file.
    pub mode: u32,
}

static TREE: Mutex<Option<Tree>> = Mutex::new(None);

/// Does something with the tree, which is made when it is first needed.
fn with<T>(work: impl FnOnce(&mut Tree) -> Result<T>) -> Result<T> {
    let mut slot = TREE.lock();
    let tree = match &mut *slot {
        Some(tree) => tree,
        None => {
            let mut tree = Tree::new()?;
            tree.make_directory(b"/tmp", 0o1777)?;
            slot.insert(tree)
        }
    };
    work(tree)
}

/// Opens a file or a directory.
///
/// # Errors
///
/// Those of open(2).
pub fn open(path: &[u8], options: Options) -> Result<Arc<dyn Object>> {
    with(|tree| tree.open(path, options))
}

/// What there is to know about what a path leads to.
///
/// # Errors
///
/// Those of stat(2).
pub fn metadata(path: &[u8]) -> Result<Metadata> {
    with(|tree| Ok(tree.find(path)?.metadata()))
}

/// Makes a directory.
///
/// # Errors
///
/// Those of mkdir(2).
pub fn make_directory(path: &[u8], mode: u32) -> Result<()> {
    with(|tree| tree.make_directory(path, mode))
}

/// Removes an empty directory.
///
/// # Errors
///
/// Those of rmdir(2).
pub fn remove_directory(path: &[u8]) -> Result<()> {
    with(|tree| tree.remove_directory(path))
}

/// Removes a file's name. What is open stays until it is closed.
///
/// # Errors
///
/// Those of unlink(2).
pub fn remove_file(path: &[u8]) -> Result<()> {
    with(|tree| tree.remove_file(path))
}

/// Gives a file or directory another name, in place of what had that name.
///
/// # Errors
///
/// Those of rename(2).
pub fn rename(from: &[u8], to: &[u8]) -> Result<()> {
    with(|tree| tree.rename(from, to))
}

/// Reserves room in a vector, as the file system's own error.
fn reserve<T>(vector: &mut alloc::vec::Vec<T>, additional: usize) -> Result<()> {
    vector.try_reserve(additional).map_err(|_| Error::NoSpace)
}
