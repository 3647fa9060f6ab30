//! What goes through sockets.

use core::ffi::c_void;

use hermit_abi::{MSG_PEEK, sockaddr, socklen_t};
use skete_kernel::net::{Flags, Kind, Socket, option};
use skete_kernel::{Error, Result};

use super::address::{self, Place};
use super::{count, with};
use crate::pointers;

/// Wait until the buffer is full (lwIP's number).
const MSG_WAITALL: i32 = 0x02;
/// Do not wait (lwIP's number).
const MSG_DONTWAIT: i32 = 0x08;
/// More will follow (lwIP's number): a hint.
const MSG_MORE: i32 = 0x10;
/// No signal when nobody reads (lwIP's number): none ever comes.
const MSG_NOSIGNAL: i32 = 0x20;

/// The flags of one call, none of them outside `allowed`.
fn flags(flags: i32, allowed: i32) -> Result<Flags> {
    if flags & !allowed != 0 {
        return Err(Error::Unsupported);
    }
    Ok(Flags { peek: flags & MSG_PEEK != 0, nonblocking: flags & MSG_DONTWAIT != 0 })
}

/// Receives until the buffer is full, the end, or an error, which the next call meets again.
fn receive_all(socket: &dyn Socket, buffer: &mut [u8], flags: Flags) -> Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match socket.receive(&mut buffer[done..], flags) {
            Ok((0, _)) => break,
            Ok((length, _)) => done += length,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_recv(
    descriptor: i32,
    buffer: *mut u8,
    length: usize,
    flags: i32,
) -> isize {
    // SAFETY: the caller passes a buffer; no address is asked for.
    unsafe {
        sys_recvfrom(
            descriptor,
            buffer,
            length,
            flags,
            core::ptr::null_mut(),
            core::ptr::null_mut(),
        )
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_recvfrom(
    descriptor: i32,
    buffer: *mut u8,
    length: usize,
    asked: i32,
    name: *mut sockaddr,
    name_length: *mut socklen_t,
) -> isize {
    count(with(descriptor, |socket| {
        // SAFETY: the caller passes a buffer, and room for an address or null.
        let (buffer, place) =
            unsafe { (pointers::buffer(buffer, length)?, Place::optional(name, name_length)?) };
        let flags = flags(asked, MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL)?;
        let stream = || socket.option(option::Name::Kind) == Ok(option::Value::Kind(Kind::Stream));
        let (length, sender) = if asked & MSG_WAITALL != 0 && !flags.peek && stream() {
            (receive_all(socket, buffer, flags)?, None)
        } else {
            socket.receive(buffer, flags)?
        };
        place.put(sender);
        Ok(length)
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_send(
    descriptor: i32,
    bytes: *const c_void,
    length: usize,
    flags: i32,
) -> isize {
    // SAFETY: the caller passes a buffer; no address is given.
    unsafe { sys_sendto(descriptor, bytes, length, flags, core::ptr::null(), 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sendto(
    descriptor: i32,
    bytes: *const c_void,
    length: usize,
    asked: i32,
    name: *const sockaddr,
    name_length: socklen_t,
) -> isize {
    count(with(descriptor, |socket| {
        // SAFETY: the caller passes a buffer.
        let bytes = unsafe { pointers::bytes(bytes.cast(), length) }?;
        let to = match name.is_null() {
            true => None,
            // SAFETY: the caller passes an address of this length.
            false => unsafe { address::read(name, name_length) }?,
        };
        let flags = flags(asked, MSG_DONTWAIT | MSG_MORE | MSG_NOSIGNAL)?;
        socket.send(bytes, to, flags)
    }))
}
