//! The system's calls: Linux's (vsock(7)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{AF_VSOCK, SOCK_CLOEXEC, SOCK_STREAM, sockaddr, sockaddr_vm, socklen_t};

use crate::VsockAddr;

/// Bytes of an address.
const LENGTH: socklen_t = size_of::<sockaddr_vm>() as socklen_t;

/// Binds a socket.
pub fn bind(socket: BorrowedFd<'_>, address: VsockAddr) -> io::Result<()> {
    let address = to_system(address);
    // SAFETY: an address of this length.
    done(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) }).map(drop)
}

/// Makes a listener of it.
pub fn listen(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    done(unsafe { libc::listen(socket.as_raw_fd(), backlog) }).map(drop)
}

/// Connects it.
pub fn connect(socket: BorrowedFd<'_>, address: VsockAddr) -> io::Result<()> {
    let address = to_system(address);
    // SAFETY: an address of this length.
    done(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) })
        .map(drop)
}

/// Asks for an address, by a call that writes it and its length.
fn ask(call: impl FnOnce(*mut sockaddr, *mut socklen_t) -> i32) -> io::Result<(i32, VsockAddr)> {
    let mut address = to_system(VsockAddr::new(0, 0));
    let mut length = LENGTH;
    let result = done(call((&raw mut address).cast(), &raw mut length))?;
    Ok((result, VsockAddr::new(address.svm_cid, address.svm_port)))
}

/// Where a socket is.
pub fn local(socket: BorrowedFd<'_>) -> io::Result<VsockAddr> {
    // SAFETY: room for an address, and its length.
    let asked = ask(|name, length| unsafe { libc::getsockname(socket.as_raw_fd(), name, length) });
    asked.map(|(_, address)| address)
}

/// Where the other end is.
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<VsockAddr> {
    // SAFETY: room for an address, and its length.
    let asked = ask(|name, length| unsafe { libc::getpeername(socket.as_raw_fd(), name, length) });
    asked.map(|(_, address)| address)
}

/// Takes the next connection.
pub fn accept(socket: BorrowedFd<'_>) -> io::Result<(OwnedFd, VsockAddr)> {
    let accept = |name, length| {
        // SAFETY: room for an address, and its length.
        unsafe { libc::accept4(socket.as_raw_fd(), name, length, SOCK_CLOEXEC) }
    };
    let (number, peer) = ask(accept)?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok((unsafe { OwnedFd::from_raw_fd(number) }, peer))
}

/// A new stream socket.
pub fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let number = done(unsafe { libc::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0) })?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// What a call has returned: a number, or -1.
fn done(result: i32) -> io::Result<i32> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(result),
    }
}

fn to_system(address: VsockAddr) -> sockaddr_vm {
    sockaddr_vm {
        svm_family: AF_VSOCK as libc::sa_family_t,
        svm_reserved1: 0,
        svm_port: address.port(),
        svm_cid: address.cid(),
        svm_zero: [0; 4],
    }
}
