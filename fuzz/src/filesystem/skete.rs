//! The same calls to the memory file system.

use std::sync::Arc;

use rustix::io::Errno;
use skete_kernel::Error;
use skete_kernel::fd::{Object, Seek};
use skete_kernel::fs::{self, Options, Tree};
use skete_kernel::mm::frames;

use super::input::{Access, Lock, Operation, Path, Slot, Whence};
use super::{Answer, DESCRIPTORS, FileSystem, Kind, Metadata, Outcome};

/// A file system of its own.
pub struct Skete {
    tree: Tree,
    descriptors: [Option<Arc<dyn Object>>; DESCRIPTORS],
}

impl Skete {
    pub fn new() -> Skete {
        frames::set_available(frames::total());
        Skete { tree: Tree::new().expect("a tree"), descriptors: Default::default() }
    }
}

impl FileSystem for Skete {
    fn apply(&mut self, operation: &Operation) -> Outcome<Answer> {
        self.attempt(operation).map_err(errno)
    }
}

impl Skete {
    fn attempt(&mut self, operation: &Operation) -> Result<Answer, Error> {
        let file = |slot: &Slot| self.descriptors[slot.0].clone().ok_or(Error::BadDescriptor);
        match operation {
            Operation::Open { slot, path, access, flags, writable } => {
                let options = Options {
                    read: *access != Access::Write,
                    write: *access != Access::Read,
                    append: flags.append,
                    create: flags.create,
                    exclusive: flags.exclusive,
                    truncate: flags.truncate && *access != Access::Read,
                    directory: flags.directory && !flags.create,
                    no_follow: flags.no_follow,
                    mode: mode(*writable),
                };
                self.descriptors[slot.0] = Some(self.tree.open(&path.0, options)?);
            }
            Operation::Close(slot) => {
                self.descriptors[slot.0].take().ok_or(Error::BadDescriptor)?;
            }
            Operation::Read(slot, size) => {
                let mut buffer = vec![0; size.0];
                let length = file(slot)?.read(&mut buffer)?;
                buffer.truncate(length);
                return Ok(Answer::Bytes(buffer));
            }
            Operation::Write(slot, size, byte) => {
                let written = file(slot)?.write(&vec![*byte; size.0])?;
                return Ok(Answer::Number(written as u64));
            }
            Operation::ReadAt(slot, size, offset) => {
                let mut buffer = vec![0; size.0];
                let length = file(slot)?.read_at(&mut buffer, offset.0 as u64)?;
                buffer.truncate(length);
                return Ok(Answer::Bytes(buffer));
            }
            Operation::WriteAt(slot, size, byte, offset) => {
                let written = file(slot)?.write_at(&vec![*byte; size.0], offset.0 as u64)?;
                return Ok(Answer::Number(written as u64));
            }
            Operation::Seek(slot, whence, offset) => {
                let to = match whence {
                    Whence::Start => Seek::Start(offset.0 as u64),
                    Whence::Current => Seek::Current(offset.0),
                    Whence::End => Seek::End(offset.0),
                };
                return Ok(Answer::Number(file(slot)?.seek(to)?));
            }
            Operation::SetLength(slot, length) => file(slot)?.set_length(length.0 as u64)?,
            Operation::MakeDirectory(path) => self.tree.make_directory(&path.0, 0o755)?,
            Operation::RemoveDirectory(path) => self.tree.remove_directory(&path.0)?,
            Operation::RemoveFile(path) => self.tree.remove_file(&path.0)?,
            Operation::Rename(from, to) => self.tree.rename(&from.0, &to.0)?,
            Operation::Link(from, to) => self.tree.link(&from.0, &to.0)?,
            Operation::MakeLink(target, path) => self.tree.make_link(&target.0, &path.0)?,
            Operation::ReadLink(path) => return Ok(Answer::Bytes(self.tree.read_link(&path.0)?)),
            Operation::Canonical(path) => return Ok(Answer::Bytes(self.tree.canonical(&path.0)?)),
            Operation::LinkMetadata(path) => {
                return Ok(metadata(&self.tree.find_link(&path.0)?.metadata()));
            }
            Operation::Metadata(path) => {
                return Ok(metadata(&self.tree.find(&path.0)?.metadata()));
            }
            Operation::DescriptorMetadata(slot) => {
                return Ok(metadata(&file(slot)?.metadata()?));
            }
            Operation::SetMode(path, writable) => {
                let node = self.tree.find(&path.0)?;
                if node.metadata().kind == fs::Kind::Directory {
                    return Err(Error::IsADirectory);
                }
                node.set_mode(mode(*writable));
            }
            Operation::List(path) => return self.list(path),
            Operation::Lock(slot, lock) => match lock {
                Lock::Shared => file(slot)?.lock(fs::Lock::Shared, false)?,
                Lock::Exclusive => file(slot)?.lock(fs::Lock::Exclusive, false)?,
                Lock::Unlock => file(slot)?.unlock()?,
            },
            Operation::Full(full) => {
                frames::set_available(if full.0 { 0 } else { frames::total() });
            }
        }
        Ok(Answer::Nothing)
    }

    fn list(&mut self, path: &Path) -> Result<Answer, Error> {
        let options = Options { read: true, directory: true, ..Options::default() };
        let mut names = Vec::new();
        self.tree.open(&path.0, options)?.entries(&mut |entry| {
            names.push((entry.name.to_vec(), kind(entry.kind)));
            true
        })?;
        names.sort();
        Ok(Answer::Names(names))
    }
}

fn mode(writable: bool) -> u32 {
    if writable { 0o644 } else { 0o444 }
}

fn kind(kind: fs::Kind) -> Kind {
    match kind {
        fs::Kind::File => Kind::File,
        fs::Kind::Directory => Kind::Directory,
        fs::Kind::Link => Kind::Link,
        fs::Kind::Device | fs::Kind::Disk => Kind::Other,
    }
}

fn metadata(metadata: &fs::Metadata) -> Answer {
    let kind = kind(metadata.kind);
    Answer::Metadata(Metadata {
        kind,
        links: metadata.links,
        mode: metadata.mode,
        length: (kind != Kind::Directory).then_some(metadata.length),
    })
}

/// As std-shim numbers them.
fn errno(error: Error) -> Errno {
    match error {
        Error::NotFound => Errno::NOENT,
        Error::AlreadyExists => Errno::EXIST,
        Error::NotADirectory => Errno::NOTDIR,
        Error::IsADirectory => Errno::ISDIR,
        Error::DirectoryNotEmpty => Errno::NOTEMPTY,
        Error::NameTooLong => Errno::NAMETOOLONG,
        Error::BadDescriptor => Errno::BADF,
        Error::InvalidArgument => Errno::INVAL,
        Error::FileTooLarge => Errno::FBIG,
        Error::NotSeekable => Errno::SPIPE,
        Error::WouldBlock => Errno::AGAIN,
        Error::PermissionDenied => Errno::ACCESS,
        Error::Busy => Errno::BUSY,
        Error::NoSpace => Errno::NOSPC,
        Error::NotPermitted => Errno::PERM,
        Error::Loop => Errno::LOOP,
        other => panic!("an error that no file has: {other:?}"),
    }
}
