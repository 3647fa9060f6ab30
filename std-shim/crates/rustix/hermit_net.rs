//! Sockets: the structures that libc lacks, and the functions that the system has no call for.

use core::mem::size_of;

use super::*;

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct linger {
    pub(crate) l_onoff: c_int,
    pub(crate) l_linger: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ip_mreq {
    pub(crate) imr_multiaddr: in_addr,
    pub(crate) imr_interface: in_addr,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ipv6_mreq {
    pub(crate) ipv6mr_multiaddr: in6_addr,
    pub(crate) ipv6mr_interface: c_uint,
}

/// The system has no such addresses; their size is asked for.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct sockaddr_un {
    pub(crate) sun_family: u16,
    pub(crate) sun_path: [c_char; 108],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct msghdr {
    pub(crate) msg_name: *mut c_void,
    pub(crate) msg_namelen: socklen_t,
    pub(crate) msg_iov: *mut iovec,
    pub(crate) msg_iovlen: c_int,
    pub(crate) msg_control: *mut c_void,
    pub(crate) msg_controllen: usize,
    pub(crate) msg_flags: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct cmsghdr {
    pub(crate) cmsg_len: usize,
    pub(crate) cmsg_level: c_int,
    pub(crate) cmsg_type: c_int,
}

const fn aligned(length: usize) -> usize {
    (length + size_of::<usize>() - 1) & !(size_of::<usize>() - 1)
}

pub(crate) const unsafe fn CMSG_LEN(length: c_uint) -> c_uint {
    (aligned(size_of::<cmsghdr>()) + length as usize) as c_uint
}

pub(crate) const unsafe fn CMSG_SPACE(length: c_uint) -> c_uint {
    (aligned(size_of::<cmsghdr>()) + aligned(length as usize)) as c_uint
}

pub(crate) unsafe fn CMSG_DATA(header: *const cmsghdr) -> *mut u8 {
    header.add(1).cast_mut().cast()
}

pub(crate) unsafe fn CMSG_FIRSTHDR(message: *const msghdr) -> *mut cmsghdr {
    if (*message).msg_controllen < size_of::<cmsghdr>() {
        return core::ptr::null_mut();
    }
    (*message).msg_control.cast()
}

pub(crate) unsafe fn CMSG_NXTHDR(message: *const msghdr, header: *const cmsghdr) -> *mut cmsghdr {
    let length = aligned((*header).cmsg_len);
    let end = (*message).msg_control as usize + (*message).msg_controllen;
    let next = header.cast::<u8>().wrapping_add(length).cast::<cmsghdr>();
    if length < size_of::<cmsghdr>() || next as usize + size_of::<cmsghdr>() > end {
        return core::ptr::null_mut();
    }
    next.cast_mut()
}

absent! {
    recvmsg(c_int, *mut msghdr, c_int) -> ssize_t;
    sendmsg(c_int, *const msghdr, c_int) -> ssize_t;
    socketpair(c_int, c_int, c_int, *mut c_int) -> c_int;
}

/// The flags that the system knows. A signal is never sent, and a descriptor never inherited.
fn known(flags: c_int) -> Result<c_int, c_int> {
    match flags & !MSG_CMSG_CLOEXEC {
        flags
            if flags & !(MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT | MSG_MORE | MSG_NOSIGNAL) == 0 =>
        {
            Ok(flags)
        }
        _ => Err(-EOPNOTSUPP),
    }
}

pub(crate) unsafe fn recv(fd: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> ssize_t {
    match known(flags) {
        Ok(flags) => libc::recv(fd, buffer.cast(), length, flags),
        Err(error) => error as ssize_t,
    }
}

pub(crate) unsafe fn recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    length: usize,
    flags: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
) -> ssize_t {
    match known(flags) {
        Ok(flags) => libc::recvfrom(fd, buffer, length, flags, address, address_length),
        Err(error) => error as ssize_t,
    }
}

pub(crate) unsafe fn send(fd: c_int, bytes: *const c_void, length: usize, flags: c_int) -> ssize_t {
    match known(flags) {
        Ok(flags) => libc::send(fd, bytes, length, flags),
        Err(error) => error as ssize_t,
    }
}

pub(crate) unsafe fn sendto(
    fd: c_int,
    bytes: *const c_void,
    length: usize,
    flags: c_int,
    address: *const sockaddr,
    address_length: socklen_t,
) -> ssize_t {
    match known(flags) {
        Ok(flags) => libc::sendto(fd, bytes, length, flags, address, address_length),
        Err(error) => error as ssize_t,
    }
}

extern "C" {
    /// Accepts a connection, which does not wait if `flags` say so.
    #[link_name = "sys_accept4"]
    pub(crate) fn accept4(
        fd: c_int,
        address: *mut sockaddr,
        length: *mut socklen_t,
        flags: c_int,
    ) -> c_int;
}
