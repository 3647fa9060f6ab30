//! Results of the system's functions: every one gives a negative error number when it fails.

use super::c;
#[cfg(feature = "alloc")]
use super::fd::IntoRawFd as _;
use super::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, LibcFd, OwnedFd};
use crate::ffi::CStr;
use crate::io;

#[inline]
pub(super) fn c_str(c: &CStr) -> *const c::c_char {
    c.as_ptr().cast()
}

#[inline]
pub(super) fn borrowed_fd(fd: BorrowedFd<'_>) -> LibcFd {
    fd.as_raw_fd()
}

#[cfg(feature = "alloc")]
#[inline]
pub(super) fn owned_fd(fd: OwnedFd) -> LibcFd {
    fd.into_raw_fd()
}

#[inline]
pub(super) fn ret(raw: c::c_int) -> io::Result<()> {
    ret_c_int(raw).map(drop)
}

#[inline]
pub(super) unsafe fn ret_infallible(raw: c::c_int) {
    debug_assert!(raw >= 0, "unexpected error: {:?}", io::Errno(-raw));
}

#[inline]
pub(super) fn ret_c_int(raw: c::c_int) -> io::Result<c::c_int> {
    if raw < 0 {
        Err(io::Errno(-raw))
    } else {
        Ok(raw)
    }
}

#[inline]
pub(super) fn ret_usize(raw: c::ssize_t) -> io::Result<usize> {
    usize::try_from(raw).map_err(|_| io::Errno(-raw as c::c_int))
}

#[cfg(feature = "fs")]
#[inline]
pub(super) fn ret_off_t(raw: c::off_t) -> io::Result<c::off_t> {
    ret_usize(raw as c::ssize_t).map(|offset| offset as c::off_t)
}

#[inline]
pub(super) fn ret_pid_t(raw: c::pid_t) -> io::Result<c::pid_t> {
    ret_c_int(raw)
}

/// Convert a `c_int` returned from a function of the system to an `OwnedFd`, if valid.
///
/// # Safety
///
/// The caller must ensure that this is the return value of a function which returns an owned file
/// descriptor.
#[inline]
pub(super) unsafe fn ret_owned_fd(raw: LibcFd) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for the descriptor.
    ret_c_int(raw).map(|raw| unsafe { OwnedFd::from_raw_fd(raw) })
}

#[inline]
pub(super) fn ret_discarded_fd(raw: LibcFd) -> io::Result<()> {
    ret(raw)
}

/// Convert the buffer-length argument value of a `send` or `recv` call.
#[inline]
pub(super) fn send_recv_len(len: usize) -> usize {
    len
}

/// Convert the return value of a `send` or `recv` call.
#[inline]
pub(super) fn ret_send_recv(len: isize) -> io::Result<usize> {
    ret_usize(len)
}
