//! What is Linux's own.

use std::io;

use libc::{AF_VSOCK, SOCK_CLOEXEC, SOCK_STREAM, sockaddr, sockaddr_vm, socklen_t};

use crate::VsockAddr;

/// accept(2), for this program alone.
///
/// # Safety
///
/// As of accept4(2).
pub unsafe fn accept(socket: i32, name: *mut sockaddr, length: *mut socklen_t) -> i32 {
    // SAFETY: the caller vouches for it.
    unsafe { libc::accept4(socket, name, length, SOCK_CLOEXEC) }
}

/// A new stream socket.
pub fn socket() -> i32 {
    // SAFETY: no memory is involved.
    unsafe { libc::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0) }
}

/// What a call has returned: a number, or -1.
pub fn done(result: i32) -> io::Result<i32> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(result),
    }
}

pub const fn to_system(address: VsockAddr) -> sockaddr_vm {
    sockaddr_vm {
        svm_family: AF_VSOCK as libc::sa_family_t,
        svm_reserved1: 0,
        svm_port: address.port(),
        svm_cid: address.cid(),
        svm_zero: [0; 4],
    }
}
