//! The initial file tree: archives, unpacked without copying what is in their files.

use alloc::sync::Arc;

use skete_archive::{Damage, Entry, Kind as EntryKind, Name, Problem};

use super::Tree;
use super::node::{Kind, Node};
use crate::Error;
use crate::arch::power;
use crate::boot::{archives, status};
use crate::debug::Line;

/// Unpacks all archives that came with the machine. Ends it when one cannot be used: a program would
/// otherwise run without files that it was given.
pub(super) fn mount(tree: &Tree) {
    for archive in archives::all() {
        if let Err(damage) = unpack(tree, archive) {
            let mut line = Line::new();
            line.text("skete: the root archive cannot be used: ");
            damage.describe(&mut |text| _ = line.text(text));
            line.end();
            power::end(status::ROOT);
        }
    }
}

/// Unpacks an archive over what is in the tree already: directories are merged, files and links replace
/// those of the same name.
///
/// # Errors
///
/// What is wrong with the archive; the tree then holds the entries before that.
pub fn unpack(tree: &Tree, archive: &'static [u8]) -> Result<(), Damage<'static>> {
    let layer = Layer { root: tree.root(), first: Node::next_number() };
    for entry in skete_archive::entries(archive) {
        let entry = entry?;
        layer.put(&entry).map_err(|problem| entry.damage(problem))?;
    }
    Ok(())
}

/// One archive's part of the tree.
struct Layer<'a> {
    root: &'a Arc<Node>,
    /// Nodes with smaller numbers were there before.
    first: u64,
}

impl Layer<'_> {
    fn put(&self, entry: &Entry<'static>) -> Result<(), Problem> {
        let mut components = entry.name.components();
        let Some(last) = components.next_back() else {
            // The root itself.
            describe(self.root, entry);
            return Ok(());
        };
        let mut directory = self.root.clone();
        for name in components {
            let next = match child(&directory, name)? {
                Some(node) => node,
                None => insert(&directory, name, made(Node::directory(0o755))?)?,
            };
            directory = next;
        }
        let existing = child(&directory, last)?;
        if entry.kind == EntryKind::Directory {
            return match existing {
                // Named before, or made for what is in it.
                Some(node) if node.kind() == Kind::Directory => {
                    describe(&node, entry);
                    Ok(())
                }
                Some(_) => Err(Problem::NotADirectory),
                None => {
                    let node = insert(&directory, last, made(Node::directory(entry.mode))?)?;
                    describe(&node, entry);
                    Ok(())
                }
            };
        }
        match existing {
            Some(node) if node.number() >= self.first => return Err(Problem::Duplicate),
            // Of an earlier archive. What the system itself has there stays.
            Some(node) if node.bytes().is_ok() || node.kind() == Kind::Link => node.unlinked(),
            Some(_) => return Err(Problem::InTheWay),
            None => {}
        }
        let node = match entry.kind {
            EntryKind::File(content) => made(Node::borrowed(content, entry.mode))?,
            EntryKind::Symlink(target) => made(Node::link(target))?,
            EntryKind::HardLink(target) => {
                let node = insert(&directory, last, self.find(target)?)?;
                node.linked();
                return Ok(());
            }
            EntryKind::Directory => unreachable!("directories were dealt with"),
        };
        let node = insert(&directory, last, node)?;
        describe(&node, entry);
        Ok(())
    }

    /// The file that a hard link leads to.
    fn find(&self, target: Name<'_>) -> Result<Arc<Node>, Problem> {
        let mut node = self.root.clone();
        for name in target.components() {
            let next = child(&node, name).ok().flatten();
            node = next.ok_or(Problem::MissingTarget)?;
        }
        match node.kind() {
            Kind::File | Kind::Link => Ok(node),
            _ => Err(Problem::MissingTarget),
        }
    }
}

/// What a directory has under a name.
fn child(directory: &Node, name: &[u8]) -> Result<Option<Arc<Node>>, Problem> {
    let names = directory.names().map_err(|_| Problem::NotADirectory)?;
    Ok(names.lock().get(name).cloned())
}

/// Puts a node into a directory, whose times stay as the archive has them.
fn insert(directory: &Node, name: &[u8], node: Arc<Node>) -> Result<Arc<Node>, Problem> {
    let names = directory.names().map_err(|_| Problem::NotADirectory)?;
    made(names.lock().insert(name, node.clone()))?;
    Ok(node)
}

/// Memory is all that can be missing.
fn made<T>(result: Result<T, Error>) -> Result<T, Problem> {
    result.map_err(|_| Problem::Memory)
}

/// Gives a node what the archive knows about it.
fn describe(node: &Node, entry: &Entry<'_>) {
    node.set_mode(entry.mode);
    node.set_times(Some(entry.modified), Some(entry.modified));
}

#[cfg(test)]
mod tests;
