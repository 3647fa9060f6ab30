//! The system's calls: those of hermit-abi.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use hermit_abi::{AF_VSOCK, SOCK_STREAM, sockaddr, sockaddr_vm, socklen_t};

use crate::VsockAddr;

/// Bytes of an address.
const LENGTH: socklen_t = size_of::<sockaddr_vm>() as socklen_t;

/// Binds a socket.
pub fn bind(socket: BorrowedFd<'_>, address: VsockAddr) -> io::Result<()> {
    let address = to_system(address);
    // SAFETY: an address of this length.
    done(unsafe { hermit_abi::bind(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) })
        .map(drop)
}

/// Makes a listener of it.
pub fn listen(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    done(unsafe { hermit_abi::listen(socket.as_raw_fd(), backlog) }).map(drop)
}

/// Connects it.
pub fn connect(socket: BorrowedFd<'_>, address: VsockAddr) -> io::Result<()> {
    let address = to_system(address);
    // SAFETY: an address of this length.
    done(unsafe { hermit_abi::connect(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) })
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
    let asked =
        ask(|name, length| unsafe { hermit_abi::getsockname(socket.as_raw_fd(), name, length) });
    asked.map(|(_, address)| address)
}

/// Where the other end is.
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<VsockAddr> {
    // SAFETY: room for an address, and its length.
    let asked =
        ask(|name, length| unsafe { hermit_abi::getpeername(socket.as_raw_fd(), name, length) });
    asked.map(|(_, address)| address)
}

/// Takes the next connection.
pub fn accept(socket: BorrowedFd<'_>) -> io::Result<(OwnedFd, VsockAddr)> {
    // SAFETY: room for an address, and its length.
    let accept = |name, length| unsafe { hermit_abi::accept(socket.as_raw_fd(), name, length) };
    let (number, peer) = ask(accept)?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok((unsafe { OwnedFd::from_raw_fd(number) }, peer))
}

/// A new stream socket.
pub fn socket() -> io::Result<OwnedFd> {
    let number = done(new_socket())?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Skete's own call: what an image holds of IP is reached by `sys_socket` only.
#[cfg(target_env = "skete")]
fn new_socket() -> i32 {
    unsafe extern "C" {
        safe fn sys_vsock_socket(kind: i32, protocol: i32) -> i32;
    }
    sys_vsock_socket(SOCK_STREAM, 0)
}

#[cfg(not(target_env = "skete"))]
fn new_socket() -> i32 {
    // SAFETY: no memory is involved.
    unsafe { hermit_abi::socket(AF_VSOCK, SOCK_STREAM, 0) }
}

/// What a call has returned: a number, or that of an error, negated.
fn done(result: i32) -> io::Result<i32> {
    match result {
        0.. => Ok(result),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

fn to_system(address: VsockAddr) -> sockaddr_vm {
    sockaddr_vm {
        svm_len: LENGTH as u8,
        svm_family: AF_VSOCK as u8,
        svm_reserved1: 0,
        svm_port: address.port(),
        svm_cid: address.cid(),
        svm_zero: [0; 4],
    }
}
