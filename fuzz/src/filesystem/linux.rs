//! The calls of Linux.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{
    self, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RawMode, SeekFrom, Stat,
};
use rustix::io::{self, Errno};

use super::input::{Access, Flags, Lock, Operation, Slot, Whence};
use super::{Answer, DESCRIPTORS, FileSystem, Kind, Metadata, Outcome};

/// The file system that the thread's root directory lies on.
pub struct Linux {
    descriptors: [Option<OwnedFd>; DESCRIPTORS],
}

impl Linux {
    pub fn new() -> Linux {
        Linux { descriptors: Default::default() }
    }

    fn get(&self, slot: Slot) -> Outcome<&OwnedFd> {
        self.descriptors[slot.0].as_ref().ok_or(Errno::BADF)
    }
}

impl FileSystem for Linux {
    fn apply(&mut self, operation: &Operation) -> Outcome<Answer> {
        match operation {
            Operation::Open { slot, path, access, flags, writable } => {
                let mode = Mode::from_raw_mode(mode(*writable));
                let file = fs::open(path.0.as_slice(), open_flags(*access, *flags), mode)?;
                self.descriptors[slot.0] = Some(file);
            }
            Operation::Close(slot) => {
                self.descriptors[slot.0].take().ok_or(Errno::BADF)?;
            }
            Operation::Read(slot, size) => {
                let mut buffer = vec![0; size.0];
                let length = io::read(self.get(*slot)?, &mut buffer)?;
                buffer.truncate(length);
                return Ok(Answer::Bytes(buffer));
            }
            Operation::Write(slot, size, byte) => {
                let written = io::write(self.get(*slot)?, &vec![*byte; size.0])?;
                return Ok(Answer::Number(written as u64));
            }
            Operation::ReadAt(slot, size, offset) => {
                let mut buffer = vec![0; size.0];
                let length = io::pread(self.get(*slot)?, &mut buffer, offset.0 as u64)?;
                buffer.truncate(length);
                return Ok(Answer::Bytes(buffer));
            }
            Operation::WriteAt(slot, size, byte, offset) => {
                let bytes = vec![*byte; size.0];
                let written = io::pwrite(self.get(*slot)?, &bytes, offset.0 as u64)?;
                return Ok(Answer::Number(written as u64));
            }
            Operation::Seek(slot, whence, offset) => {
                let to = match whence {
                    Whence::Start => SeekFrom::Start(offset.0 as u64),
                    Whence::Current => SeekFrom::Current(offset.0),
                    Whence::End => SeekFrom::End(offset.0),
                };
                return Ok(Answer::Number(fs::seek(self.get(*slot)?, to)?));
            }
            Operation::SetLength(slot, length) => {
                fs::ftruncate(self.get(*slot)?, length.0 as u64)?;
            }
            Operation::MakeDirectory(path) => {
                fs::mkdir(path.0.as_slice(), Mode::from_raw_mode(0o755))?;
            }
            Operation::RemoveDirectory(path) => fs::rmdir(path.0.as_slice())?,
            Operation::RemoveFile(path) => fs::unlink(path.0.as_slice())?,
            Operation::Rename(from, to) => fs::rename(from.0.as_slice(), to.0.as_slice())?,
            Operation::Link(from, to) => fs::link(from.0.as_slice(), to.0.as_slice())?,
            Operation::MakeLink(target, path) => {
                fs::symlink(target.0.as_slice(), path.0.as_slice())?;
            }
            Operation::ReadLink(path) => {
                let target = fs::readlink(path.0.as_slice(), Vec::new())?;
                return Ok(Answer::Bytes(target.into_bytes()));
            }
            Operation::Canonical(path) => {
                let real = std::fs::canonicalize(OsStr::from_bytes(&path.0));
                let real = real.map_err(|error| Errno::from_io_error(&error).expect("a number"))?;
                return Ok(Answer::Bytes(real.into_os_string().into_vec()));
            }
            Operation::LinkMetadata(path) => {
                return Ok(Answer::Metadata(metadata(&fs::lstat(path.0.as_slice())?)));
            }
            Operation::Metadata(path) => {
                return Ok(Answer::Metadata(metadata(&fs::stat(path.0.as_slice())?)));
            }
            Operation::DescriptorMetadata(slot) => {
                return Ok(Answer::Metadata(metadata(&fs::fstat(self.get(*slot)?)?)));
            }
            Operation::SetMode(path, writable) => {
                // What a mode means for a directory is another matter.
                if metadata(&fs::stat(path.0.as_slice())?).kind == Kind::Directory {
                    return Err(Errno::ISDIR);
                }
                let mode = Mode::from_raw_mode(mode(*writable));
                fs::chmodat(CWD, path.0.as_slice(), mode, AtFlags::empty())?;
            }
            Operation::List(path) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let directory = fs::open(path.0.as_slice(), flags, Mode::empty())?;
                let mut names = Vec::new();
                for entry in Dir::new(directory)? {
                    let entry = entry?;
                    let name = entry.file_name().to_bytes();
                    if name != b"." && name != b".." {
                        names.push((name.to_vec(), kind(entry.file_type())));
                    }
                }
                names.sort();
                return Ok(Answer::Names(names));
            }
            Operation::Lock(slot, lock) => {
                let operation = match lock {
                    Lock::Shared => FlockOperation::NonBlockingLockShared,
                    Lock::Exclusive => FlockOperation::NonBlockingLockExclusive,
                    Lock::Unlock => FlockOperation::Unlock,
                };
                fs::flock(self.get(*slot)?, operation)?;
            }
            Operation::Full(_) => {}
        }
        Ok(Answer::Nothing)
    }
}

/// The mode of a file that may, or may not, be written.
fn mode(writable: bool) -> RawMode {
    if writable { 0o644 } else { 0o444 }
}

fn open_flags(access: Access, flags: Flags) -> OFlags {
    let mut set = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::WRONLY,
        Access::ReadWrite => OFlags::RDWR,
    };
    set.set(OFlags::APPEND, flags.append);
    set.set(OFlags::CREATE, flags.create);
    set.set(OFlags::EXCL, flags.exclusive);
    // What both together mean is unspecified (open(2)).
    set.set(OFlags::TRUNC, flags.truncate && access != Access::Read);
    set.set(OFlags::DIRECTORY, flags.directory && !flags.create);
    set.set(OFlags::NOFOLLOW, flags.no_follow);
    set
}

fn kind(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

fn metadata(stat: &Stat) -> Metadata {
    let kind = kind(FileType::from_raw_mode(stat.st_mode));
    Metadata {
        kind,
        links: stat.st_nlink,
        mode: stat.st_mode & 0o7777,
        length: (kind != Kind::Directory).then_some(stat.st_size as u64),
    }
}
