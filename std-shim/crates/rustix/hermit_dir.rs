//! Directories: entries by `getdents64`.

use super::types::FileType;
use crate::backend::c;
use crate::backend::conv::{borrowed_fd, ret_off_t, ret_usize};
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::ffi::{CStr, CString};
use crate::fs::{fstat, fstatfs, fstatvfs, Stat, StatFs, StatVfs};
use crate::io;
use alloc::borrow::ToOwned as _;
use alloc::vec::Vec;
use core::fmt;
use core::mem::{align_of, offset_of};

/// Room for some entries, each at most a name of 255 bytes.
const ROOM: usize = 4096;

/// `DIR*`
pub struct Dir {
    fd: OwnedFd,
    /// Entries as the system gave them.
    buffer: Vec<u64>,
    /// The bytes of them that are there, and those that were read.
    length: usize,
    used: usize,
    /// Where the next entries are read, when the descriptor's position is somebody else's too.
    shared: Option<i64>,
    any_errors: bool,
}

impl Dir {
    /// Take ownership of `fd` and construct a `Dir` that reads entries from
    /// the given directory file descriptor.
    #[inline]
    pub fn new<Fd: Into<OwnedFd>>(fd: Fd) -> io::Result<Self> {
        Self::with(fd.into(), None)
    }

    /// Borrow `fd` and construct a `Dir` that reads entries from the given
    /// directory file descriptor.
    ///
    /// The position of `fd` stays as it is.
    #[inline]
    pub fn read_from<Fd: AsFd>(fd: Fd) -> io::Result<Self> {
        Self::with(crate::io::dup(fd)?, Some(0))
    }

    fn with(fd: OwnedFd, shared: Option<i64>) -> io::Result<Self> {
        if FileType::from_raw_mode(fstat(&fd)?.st_mode) != FileType::Directory {
            return Err(io::Errno::NOTDIR);
        }
        Ok(Self {
            fd,
            buffer: Vec::new(),
            length: 0,
            used: 0,
            shared,
            any_errors: false,
        })
    }

    /// Returns the file descriptor associated with the directory stream.
    #[inline]
    pub fn fd<'a>(&'a self) -> io::Result<BorrowedFd<'a>> {
        Ok(self.fd.as_fd())
    }

    fn go(&self, position: i64, whence: c::c_int) -> io::Result<i64> {
        // SAFETY: the descriptor is open.
        unsafe { ret_off_t(c::lseek(borrowed_fd(self.fd.as_fd()), position, whence)) }
    }

    /// `rewinddir(self)`
    #[inline]
    pub fn rewind(&mut self) {
        self.any_errors = self.seek(0).is_err();
    }

    /// `seekdir(self, offset)`
    #[inline]
    pub fn seek(&mut self, offset: i64) -> io::Result<()> {
        self.any_errors = false;
        self.length = 0;
        self.used = 0;
        match &mut self.shared {
            Some(position) => *position = offset,
            None => drop(self.go(offset, c::SEEK_SET)?),
        }
        Ok(())
    }

    /// Reads some more entries.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.resize(ROOM / size_of::<u64>(), 0);
        let before = match self.shared {
            Some(position) => {
                let before = self.go(0, c::SEEK_CUR)?;
                self.go(position, c::SEEK_SET)?;
                Some(before)
            }
            None => None,
        };
        // SAFETY: the buffer has so much room, and is aligned for entries.
        let read = ret_usize(unsafe {
            c::getdents64(
                borrowed_fd(self.fd.as_fd()),
                self.buffer.as_mut_ptr().cast(),
                ROOM,
            )
        });
        if let Some(before) = before {
            self.shared = Some(self.go(0, c::SEEK_CUR)?);
            self.go(before, c::SEEK_SET)?;
        }
        self.used = 0;
        self.length = read?;
        Ok(())
    }

    /// `readdir(self)`, where `None` means the end of the directory.
    pub fn read(&mut self) -> Option<io::Result<DirEntry>> {
        // If we've seen errors, don't continue to try to read anything
        // further.
        if self.any_errors {
            return None;
        }
        if self.used == self.length {
            if let Err(error) = self.fill() {
                self.any_errors = true;
                return Some(Err(error));
            }
        }
        if self.length == 0 {
            return None;
        }
        const _: () = assert!(align_of::<c::dirent64>() <= align_of::<u64>());
        // SAFETY: the system wrote an entry there, as long as it says, whose name ends with a NUL. It
        // may be shorter than the structure, whose name has room for the longest.
        unsafe {
            let entry = self.buffer.as_ptr().cast::<u8>().add(self.used);
            let field = |offset: usize| entry.add(offset);
            let length = field(offset_of!(c::dirent64, d_reclen))
                .cast::<u16>()
                .read();
            self.used += usize::from(length);
            Some(Ok(DirEntry {
                d_type: field(offset_of!(c::dirent64, d_type)).read(),
                d_ino: field(offset_of!(c::dirent64, d_ino)).cast::<u64>().read(),
                d_off: field(offset_of!(c::dirent64, d_off)).cast::<i64>().read(),
                name: CStr::from_ptr(field(offset_of!(c::dirent64, d_name)).cast()).to_owned(),
            }))
        }
    }

    /// `fstat(self)`
    #[inline]
    pub fn stat(&self) -> io::Result<Stat> {
        fstat(&self.fd)
    }

    /// `fstatfs(self)`
    #[inline]
    pub fn statfs(&self) -> io::Result<StatFs> {
        fstatfs(&self.fd)
    }

    /// `fstatvfs(self)`
    #[inline]
    pub fn statvfs(&self) -> io::Result<StatVfs> {
        fstatvfs(&self.fd)
    }
}

impl Iterator for Dir {
    type Item = io::Result<DirEntry>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Self::read(self)
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dir").field("fd", &self.fd).finish()
    }
}

/// `struct dirent`
#[derive(Debug)]
pub struct DirEntry {
    d_type: u8,
    d_ino: c::ino_t,
    d_off: c::off_t,
    name: CString,
}

impl DirEntry {
    /// Returns the file name of this directory entry.
    #[inline]
    pub fn file_name(&self) -> &CStr {
        &self.name
    }

    /// Returns the “offset” of this directory entry. This is not a true
    /// numerical offset but an opaque cookie that identifies a position in the
    /// given stream.
    #[inline]
    pub fn offset(&self) -> i64 {
        self.d_off
    }

    /// Returns the type of this directory entry.
    #[inline]
    pub fn file_type(&self) -> FileType {
        FileType::from_dirent_d_type(self.d_type)
    }

    /// Return the inode number of this directory entry.
    #[inline]
    pub fn ino(&self) -> u64 {
        self.d_ino
    }
}
