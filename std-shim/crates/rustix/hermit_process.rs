//! The one process of a machine: its number, its user, its current directory. There are no others, so
//! what starts, waits for, limits or signals processes is absent.

#[cfg(all(feature = "alloc", feature = "fs"))]
use crate::ffi::CString;
#[cfg(feature = "fs")]
use crate::{io, path};
#[cfg(all(feature = "alloc", feature = "fs"))]
use alloc::vec::Vec;

use crate::backend::c;
pub use crate::pid::{Pid, RawPid};
pub use crate::ugid::{Gid, RawGid, RawUid, Uid};

/// `EXIT_SUCCESS` for use with [`exit`].
///
/// [`exit`]: std::process::exit
pub const EXIT_SUCCESS: i32 = 0;

/// `EXIT_FAILURE` for use with [`exit`].
///
/// [`exit`]: std::process::exit
pub const EXIT_FAILURE: i32 = 1;

/// `getpid()`—Returns the process' ID.
#[inline]
#[must_use]
pub fn getpid() -> Pid {
    // SAFETY: the function has no conditions.
    match Pid::from_raw(unsafe { c::getpid() }) {
        Some(pid) => pid,
        None => Pid::INIT,
    }
}

/// `getppid()`—Returns the parent process' ID: there is none.
#[inline]
#[must_use]
pub fn getppid() -> Option<Pid> {
    None
}

/// `getuid()`—Returns the process' real user ID.
#[inline]
#[must_use]
pub fn getuid() -> Uid {
    Uid::ROOT
}

/// `geteuid()`—Returns the process' effective user ID.
#[inline]
#[must_use]
pub fn geteuid() -> Uid {
    Uid::ROOT
}

/// `getgid()`—Returns the process' real group ID.
#[inline]
#[must_use]
pub fn getgid() -> Gid {
    Gid::ROOT
}

/// `getegid()`—Returns the process' effective group ID.
#[inline]
#[must_use]
pub fn getegid() -> Gid {
    Gid::ROOT
}

/// `chdir(path)`—Change the current working directory.
#[cfg(feature = "fs")]
#[inline]
pub fn chdir<P: path::Arg>(path: P) -> io::Result<()> {
    path.into_with_c_str(c::change_directory)
}

/// `getcwd()`—Return the current working directory.
///
/// If `reuse` already has available capacity, reuse it if possible.
#[cfg(all(feature = "alloc", feature = "fs"))]
#[inline]
pub fn getcwd<B: Into<Vec<u8>>>(reuse: B) -> io::Result<CString> {
    c::current_directory(reuse.into())
}
