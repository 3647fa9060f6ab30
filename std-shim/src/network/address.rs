//! Addresses as C has them.

use core::ffi::c_void;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::ptr;

use hermit_abi::{
    AF_INET, AF_INET6, AF_UNSPEC, in_addr, in6_addr, sa_family_t, sockaddr, sockaddr_in,
    sockaddr_in6, socklen_t,
};
use skete_kernel::{Error, Result};

/// Room for the address of either family.
#[repr(C)]
#[derive(Clone, Copy)]
pub union Storage {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

impl Storage {
    /// An address, and its length.
    pub fn new(address: SocketAddr) -> (Storage, usize) {
        match address {
            SocketAddr::V4(address) => {
                let length = size_of::<sockaddr_in>();
                let v4 = sockaddr_in {
                    sin_len: length as u8,
                    sin_family: AF_INET as sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: v4(*address.ip()),
                    sin_zero: [0; 8],
                };
                (Storage { v4 }, length)
            }
            SocketAddr::V6(address) => {
                let length = size_of::<sockaddr_in6>();
                let v6 = sockaddr_in6 {
                    sin6_len: length as u8,
                    sin6_family: AF_INET6 as sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                (Storage { v6 }, length)
            }
        }
    }

    /// The family's number.
    pub fn family(address: SocketAddr) -> i32 {
        if address.is_ipv4() { AF_INET } else { AF_INET6 }
    }
}

/// The address of four bytes, in the order in which they are sent.
pub fn v4(address: Ipv4Addr) -> in_addr {
    in_addr { s_addr: u32::from_ne_bytes(address.octets()) }
}

/// The other way round.
pub fn from_v4(address: in_addr) -> Ipv4Addr {
    Ipv4Addr::from(address.s_addr.to_ne_bytes())
}

/// Reads an address; `None` is one of no family.
///
/// # Safety
///
/// Null, or `length` bytes.
pub unsafe fn read(name: *const sockaddr, length: socklen_t) -> Result<Option<SocketAddr>> {
    let length = length as usize;
    if name.is_null() || length < core::mem::offset_of!(sockaddr, sa_data) {
        return Err(Error::InvalidArgument);
    }
    // SAFETY: there are enough bytes for the family, and everywhere below for what is read.
    let family = unsafe { ptr::addr_of!((*name).sa_family).read() };
    match i32::from(family) {
        AF_UNSPEC => Ok(None),
        AF_INET if length >= size_of::<sockaddr_in>() => {
            // SAFETY: as above; the bytes need not be aligned.
            let address = unsafe { name.cast::<sockaddr_in>().read_unaligned() };
            let ip = from_v4(address.sin_addr);
            let port = u16::from_be(address.sin_port);
            Ok(Some(SocketAddrV4::new(ip, port).into()))
        }
        AF_INET6 if length >= size_of::<sockaddr_in6>() => {
            // SAFETY: as above; the bytes need not be aligned.
            let address = unsafe { name.cast::<sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let port = u16::from_be(address.sin6_port);
            let (flow, scope) = (address.sin6_flowinfo, address.sin6_scope_id);
            Ok(Some(SocketAddrV6::new(ip, port, flow, scope).into()))
        }
        AF_INET | AF_INET6 => Err(Error::InvalidArgument),
        _ => Err(Error::FamilyNotSupported),
    }
}

/// Where the caller wants an address, if anywhere.
pub struct Place {
    name: *mut c_void,
    length: *mut socklen_t,
}

impl Place {
    /// A place that there has to be.
    ///
    /// # Safety
    ///
    /// `name` is null or room of `*length` bytes, `length` null or a number, until [`Place::put`].
    pub unsafe fn new(name: *mut sockaddr, length: *mut socklen_t) -> Result<Place> {
        if name.is_null() {
            return Err(Error::InvalidArgument);
        }
        // SAFETY: vouched for by the caller.
        unsafe { Place::optional(name, length) }
    }

    /// A place that may be absent.
    ///
    /// # Safety
    ///
    /// As for [`Place::new`].
    pub unsafe fn optional(name: *mut sockaddr, length: *mut socklen_t) -> Result<Place> {
        // SAFETY: vouched for by the caller.
        if !name.is_null() && (length.is_null() || unsafe { length.read_unaligned() } as i32 == -1)
        {
            return Err(Error::InvalidArgument);
        }
        Ok(Place { name: name.cast(), length })
    }

    /// Writes as much of the address as there is room for, and its whole length; of none, a length of 0.
    pub fn put(self, address: Option<SocketAddr>) {
        if self.name.is_null() {
            return;
        }
        // SAFETY: as `new` asks for.
        let room = unsafe { self.length.read_unaligned() } as usize;
        let mut whole = 0;
        if let Some(address) = address {
            let storage;
            (storage, whole) = Storage::new(address);
            let from: *const Storage = &raw const storage;
            // SAFETY: so many bytes are in both.
            unsafe { ptr::copy_nonoverlapping(from.cast(), self.name, whole.min(room)) };
        }
        // SAFETY: as above.
        unsafe { self.length.write_unaligned(whole as socklen_t) };
    }
}
