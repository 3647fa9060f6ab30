//! Streams to the host (`AF_VSOCK`), in an image whose program asks for them: it calls [`sys_vsock_init`], or [`sys_vsock_socket`], which
//! nothing else does (decision 185).

use alloc::sync::Arc;

use hermit_abi::errno::{EAFNOSUPPORT, EINVAL, EPROTONOSUPPORT, ESOCKTNOSUPPORT};
use hermit_abi::{
    AF_VSOCK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, sa_family_t, sockaddr, sockaddr_vm,
    socklen_t,
};
use skete_kernel::debug::Line;
use skete_kernel::fd::{self, Handle, Object};
use skete_kernel::sync::Hook;
use skete_kernel::vsock::{self, Address};
use skete_kernel::{Error, Result};

use super::{status, value};
use crate::errno::fail;

/// What the sockets of this family do. `None` of those with a descriptor: it is the socket of another family.
pub struct Family {
    /// `socket`, of a kind and a protocol
    socket: fn(i32, i32) -> i32,
    /// `bind`
    pub bind: unsafe fn(i32, *const sockaddr, socklen_t) -> Option<i32>,
    /// `connect`
    pub connect: unsafe fn(i32, *const sockaddr, socklen_t) -> Option<i32>,
    /// `accept4`
    pub accept: unsafe fn(i32, *mut sockaddr, *mut socklen_t, i32) -> Option<i32>,
    /// `getsockname`
    pub local: unsafe fn(i32, *mut sockaddr, *mut socklen_t) -> Option<i32>,
    /// `getpeername`
    pub peer: unsafe fn(i32, *mut sockaddr, *mut socklen_t) -> Option<i32>,
}

/// Nothing in an image whose program does not ask for it.
pub static FAMILY: Hook<&'static Family> = Hook::new();

/// Lets `sys_socket` make sockets of the family `AF_VSOCK`. Not part of hermit-abi.
#[unsafe(no_mangle)]
extern "C" fn sys_vsock_init() -> i32 {
    static OWN: Family = Family { socket, bind, connect, accept, local, peer };
    FAMILY.set(&OWN);
    0
}

/// As `sys_socket(AF_VSOCK, kind, protocol)`, which brings IP into an image. Not part of hermit-abi.
#[unsafe(no_mangle)]
extern "C" fn sys_vsock_socket(kind: i32, protocol: i32) -> i32 {
    sys_vsock_init();
    socket(kind, protocol)
}

/// A socket of a family that is none of IP's.
#[cold]
pub fn other(domain: i32, kind: i32, protocol: i32) -> i32 {
    match FAMILY.get() {
        Some(family) if domain == AF_VSOCK => (family.socket)(kind, protocol),
        _ => {
            if domain == AF_VSOCK {
                Line::new()
                    .text("skete: AF_VSOCK is not in this image: call sys_vsock_init()")
                    .end();
            }
            fail(EAFNOSUPPORT)
        }
    }
}

fn socket(kind: i32, protocol: i32) -> i32 {
    match (kind & !(SOCK_NONBLOCK | SOCK_CLOEXEC), protocol) {
        (SOCK_STREAM, 0) => {}
        (SOCK_STREAM, _) => return fail(EPROTONOSUPPORT),
        _ => return fail(ESOCKTNOSUPPORT),
    }
    let stream = vsock::stream(kind & SOCK_NONBLOCK != 0);
    value(stream.and_then(|stream| fd::open(Handle::Object(stream))))
}

/// The object behind a descriptor. What is wrong with one is told as for any socket.
fn object(descriptor: i32) -> Option<Arc<dyn Object>> {
    match fd::get(descriptor) {
        Ok(Handle::Object(object)) => Some(object),
        _ => None,
    }
}

unsafe fn bind(descriptor: i32, name: *const sockaddr, length: socklen_t) -> Option<i32> {
    let object = object(descriptor)?;
    // Whether it is a socket of this family comes first.
    vsock::local(&*object)?.ok();
    // SAFETY: the caller passes an address of this length.
    let done = match unsafe { read(name, length) } {
        Ok(address) => vsock::bind(&*object, address)?,
        Err(error) => Err(error),
    };
    Some(status(done))
}

unsafe fn connect(descriptor: i32, name: *const sockaddr, length: socklen_t) -> Option<i32> {
    let object = object(descriptor)?;
    vsock::local(&*object)?.ok();
    // SAFETY: the caller passes an address of this length.
    let done = match unsafe { read(name, length) } {
        Ok(address) => vsock::connect(&*object, address)?,
        Err(error) => Err(error),
    };
    Some(status(done))
}

unsafe fn accept(
    descriptor: i32,
    name: *mut sockaddr,
    length: *mut socklen_t,
    flags: i32,
) -> Option<i32> {
    let object = object(descriptor)?;
    vsock::local(&*object)?.ok();
    if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
        return Some(fail(EINVAL));
    }
    let taken = vsock::accept(&*object)?.and_then(|(connection, peer)| {
        connection.set_nonblocking(flags & SOCK_NONBLOCK != 0);
        if !name.is_null() {
            // SAFETY: the caller passes room for an address, and its length.
            unsafe { write(name, length, peer) }?;
        }
        fd::open(Handle::Object(connection))
    });
    Some(value(taken))
}

unsafe fn local(descriptor: i32, name: *mut sockaddr, length: *mut socklen_t) -> Option<i32> {
    let address = vsock::local(&*object(descriptor)?)?;
    // SAFETY: the caller passes room for an address, and its length.
    let done = address.and_then(|address| unsafe { write(name, length, address) });
    Some(status(done))
}

unsafe fn peer(descriptor: i32, name: *mut sockaddr, length: *mut socklen_t) -> Option<i32> {
    let address = vsock::peer(&*object(descriptor)?)?;
    // SAFETY: the caller passes room for an address, and its length.
    let done = address.and_then(|address| unsafe { write(name, length, address) });
    Some(status(done))
}

/// Reads an address.
///
/// # Safety
///
/// Null, or `length` bytes.
unsafe fn read(name: *const sockaddr, length: socklen_t) -> Result<Address> {
    if name.is_null() || (length as usize) < size_of::<sockaddr_vm>() {
        return Err(Error::InvalidArgument);
    }
    // SAFETY: there are enough bytes, which need not be aligned.
    let address = unsafe { name.cast::<sockaddr_vm>().read_unaligned() };
    if i32::from(address.svm_family) != AF_VSOCK {
        return Err(Error::FamilyNotSupported);
    }
    Ok(Address { cid: address.svm_cid, port: address.svm_port })
}

/// Writes as much of an address as there is room for, and its whole length.
///
/// # Safety
///
/// `name` is null or room of `*length` bytes, `length` null or a number.
unsafe fn write(name: *mut sockaddr, length: *mut socklen_t, address: Address) -> Result<()> {
    if name.is_null() || length.is_null() {
        return Err(Error::InvalidArgument);
    }
    let whole = size_of::<sockaddr_vm>();
    let address = sockaddr_vm {
        svm_len: whole as u8,
        svm_family: AF_VSOCK as sa_family_t,
        svm_reserved1: 0,
        svm_port: address.port,
        svm_cid: address.cid,
        svm_zero: [0; 4],
    };
    // SAFETY: vouched for by the caller.
    unsafe {
        let room = length.read_unaligned() as usize;
        let from: *const u8 = (&raw const address).cast();
        core::ptr::copy_nonoverlapping(from, name.cast(), whole.min(room));
        length.write_unaligned(whole as socklen_t);
    }
    Ok(())
}
