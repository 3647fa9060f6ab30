//! Sockets: the functions of hermit-abi, and those that it lacks.
//!
//! Numbers that hermit-abi does not have are lwIP's and Linux's, where its own come from (decision 110).

mod address;
mod names;
mod options;
mod transfer;
mod vsock;

use alloc::sync::Arc;

use hermit_abi::errno::*;
use hermit_abi::{
    AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, SHUT_RD, SHUT_RDWR, SHUT_WR,
    SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, sockaddr, socklen_t,
};
use skete_kernel::fd::{self, Handle, Object};
use skete_kernel::net::{self, Family, Shutdown, Socket};
use skete_kernel::{Error, Result};

use crate::errno::{self, fail};
use address::Place;
use vsock::FAMILY;

/// The longest queue of connections that nobody has accepted yet.
const LONGEST_QUEUE: usize = 4096;

/// Does something with the socket behind a descriptor.
fn with<T>(descriptor: i32, work: impl FnOnce(&dyn Socket) -> Result<T>) -> Result<T> {
    let object = object(descriptor)?;
    work(object.socket().ok_or(Error::NotASocket)?)
}

/// What a descriptor stands for that may be a socket's.
#[inline(never)]
fn object(descriptor: i32) -> Result<Arc<dyn Object>> {
    match fd::get(descriptor)? {
        Handle::Object(object) => Ok(object),
        _ => Err(Error::NotASocket),
    }
}

/// The number of a socket's error: what it cannot do is told in other words than what the kernel cannot.
fn number(error: Error) -> i32 {
    match error {
        Error::Unsupported => EOPNOTSUPP,
        error => errno::number(error),
    }
}

/// What a function returns: nothing but success or an error.
fn status(result: Result<()>) -> i32 {
    value(result.map(|()| 0))
}

/// What a function returns: a small number or an error.
fn value(result: Result<i32>) -> i32 {
    result.unwrap_or_else(|error| fail(number(error)))
}

/// What a function returns: a count of bytes, or an error.
fn count(result: Result<usize>) -> isize {
    result.map_or_else(|error| fail(number(error)) as isize, |count| count as isize)
}

/// Brings the network up. Nobody has to: the first socket does it.
#[unsafe(no_mangle)]
extern "C" fn sys_network_init() -> i32 {
    status(net::udp(Family::V4, true).map(drop))
}

#[unsafe(no_mangle)]
extern "C" fn sys_socket(domain: i32, kind: i32, protocol: i32) -> i32 {
    let family = match domain {
        AF_INET => Family::V4,
        AF_INET6 => Family::V6,
        _ => return vsock::other(domain, kind, protocol),
    };
    let nonblocking = kind & SOCK_NONBLOCK != 0;
    let socket = match (kind & !(SOCK_NONBLOCK | SOCK_CLOEXEC), protocol) {
        (SOCK_STREAM, IPPROTO_IP | IPPROTO_TCP) => net::tcp(family, nonblocking),
        (SOCK_DGRAM, IPPROTO_IP | IPPROTO_UDP) => net::udp(family, nonblocking),
        (SOCK_STREAM | SOCK_DGRAM, _) => return fail(EPROTONOSUPPORT),
        _ => return fail(ESOCKTNOSUPPORT),
    };
    value(socket.and_then(|socket| fd::open(Handle::Object(socket))))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_bind(descriptor: i32, name: *const sockaddr, length: socklen_t) -> i32 {
    if let Some(family) = FAMILY.get()
        // SAFETY: passed on as it was passed.
        && let Some(done) = unsafe { (family.bind)(descriptor, name, length) }
    {
        return done;
    }
    status(with(descriptor, |socket| {
        // SAFETY: the caller passes an address of this length.
        let local = unsafe { address::read(name, length) }?;
        socket.bind(local.ok_or(Error::FamilyNotSupported)?)
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_connect(descriptor: i32, name: *const sockaddr, length: socklen_t) -> i32 {
    if let Some(family) = FAMILY.get()
        // SAFETY: passed on as it was passed.
        && let Some(done) = unsafe { (family.connect)(descriptor, name, length) }
    {
        return done;
    }
    status(with(descriptor, |socket| {
        // SAFETY: the caller passes an address of this length.
        socket.connect(unsafe { address::read(name, length) }?)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sys_listen(descriptor: i32, backlog: i32) -> i32 {
    let longest = usize::try_from(backlog).unwrap_or(LONGEST_QUEUE);
    status(with(descriptor, |socket| socket.listen(longest.min(LONGEST_QUEUE))))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_accept(
    descriptor: i32,
    name: *mut sockaddr,
    length: *mut socklen_t,
) -> i32 {
    // SAFETY: the caller passes as on.
    unsafe { sys_accept4(descriptor, name, length, 0) }
}

/// Accepts a connection, which does not wait if `flags` say so. Not part of hermit-abi.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_accept4(
    descriptor: i32,
    name: *mut sockaddr,
    length: *mut socklen_t,
    flags: i32,
) -> i32 {
    if let Some(family) = FAMILY.get()
        // SAFETY: passed on as it was passed.
        && let Some(done) = unsafe { (family.accept)(descriptor, name, length, flags) }
    {
        return done;
    }
    if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
        return fail(EINVAL);
    }
    value(with(descriptor, |socket| {
        // SAFETY: the caller passes room of this length, or null.
        let place = unsafe { Place::optional(name, length) }?;
        let (connection, peer) = socket.accept()?;
        if flags & SOCK_NONBLOCK != 0 {
            connection.set_nonblocking(true);
        }
        let number = fd::open(Handle::Object(connection))?;
        place.put(Some(peer));
        Ok(number)
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getsockname(
    descriptor: i32,
    name: *mut sockaddr,
    length: *mut socklen_t,
) -> i32 {
    if let Some(family) = FAMILY.get()
        // SAFETY: passed on as it was passed.
        && let Some(done) = unsafe { (family.local)(descriptor, name, length) }
    {
        return done;
    }
    status(with(descriptor, |socket| {
        // SAFETY: the caller passes room of this length.
        unsafe { Place::new(name, length) }?.put(Some(socket.local()?));
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getpeername(
    descriptor: i32,
    name: *mut sockaddr,
    length: *mut socklen_t,
) -> i32 {
    if let Some(family) = FAMILY.get()
        // SAFETY: passed on as it was passed.
        && let Some(done) = unsafe { (family.peer)(descriptor, name, length) }
    {
        return done;
    }
    status(with(descriptor, |socket| {
        // SAFETY: the caller passes room of this length.
        unsafe { Place::new(name, length) }?.put(Some(socket.peer()?));
        Ok(())
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sys_shutdown(descriptor: i32, how: i32) -> i32 {
    status(with(descriptor, |socket| {
        socket.shutdown(match how {
            SHUT_RD => Shutdown::Read,
            SHUT_WR => Shutdown::Write,
            SHUT_RDWR => Shutdown::Both,
            _ => return Err(Error::InvalidArgument),
        })
    }))
}

/// The older name of [`sys_shutdown`].
#[unsafe(no_mangle)]
extern "C" fn sys_shutdown_socket(descriptor: i32, how: i32) -> i32 {
    sys_shutdown(descriptor, how)
}
