//! The system's calls: the same for Linux (vsock(7)) and for hermit-abi, but for what a module of each says.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

#[cfg(target_os = "hermit")]
use hermit_abi as system;
#[cfg(target_os = "linux")]
use libc as system;
use system::{sockaddr, sockaddr_vm, socklen_t};

use crate::VsockAddr;
use own::{done, to_system};

#[cfg_attr(target_os = "hermit", path = "sys/hermit.rs")]
#[cfg_attr(target_os = "linux", path = "sys/linux.rs")]
mod own;

/// Bytes of an address.
const LENGTH: socklen_t = size_of::<sockaddr_vm>() as socklen_t;

/// Binds a socket.
pub fn bind(socket: BorrowedFd<'_>, address: VsockAddr) -> io::Result<()> {
    let address = to_system(address);
    // SAFETY: an address of this length.
    done(unsafe { system::bind(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) }).map(drop)
}

/// Makes a listener of it.
pub fn listen(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    done(unsafe { system::listen(socket.as_raw_fd(), backlog) }).map(drop)
}

/// Connects it.
pub fn connect(socket: BorrowedFd<'_>, address: VsockAddr) -> io::Result<()> {
    let address = to_system(address);
    // SAFETY: an address of this length.
    done(unsafe { system::connect(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) })
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
        ask(|name, length| unsafe { system::getsockname(socket.as_raw_fd(), name, length) });
    asked.map(|(_, address)| address)
}

/// Where the other end is.
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<VsockAddr> {
    // SAFETY: room for an address, and its length.
    let asked =
        ask(|name, length| unsafe { system::getpeername(socket.as_raw_fd(), name, length) });
    asked.map(|(_, address)| address)
}

/// Takes the next connection.
pub fn accept(socket: BorrowedFd<'_>) -> io::Result<(OwnedFd, VsockAddr)> {
    // SAFETY: room for an address, and its length.
    let accept = |name, length| unsafe { own::accept(socket.as_raw_fd(), name, length) };
    let (number, peer) = ask(accept)?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok((unsafe { OwnedFd::from_raw_fd(number) }, peer))
}

/// A new stream socket.
pub fn socket() -> io::Result<OwnedFd> {
    let number = done(own::socket())?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
