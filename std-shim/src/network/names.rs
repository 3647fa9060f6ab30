//! Addresses by name.

use alloc::boxed::Box;
use alloc::ffi::CString;
use core::ffi::{CStr, c_char};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ptr;

use hermit_abi::errno::{EINVAL, EIO};
use hermit_abi::{
    AF_INET, AF_INET6, AF_UNSPEC, EAI_AGAIN, EAI_BADFLAGS, EAI_FAIL, EAI_FAMILY, EAI_MEMORY,
    EAI_NONAME, EAI_SERVICE, EAI_SOCKTYPE, EAI_SYSTEM, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM,
    SOCK_STREAM, addrinfo, in_addr, in6_addr,
};
use skete_kernel::net::Family;
use skete_kernel::net::resolve::{self, Failure};

use super::address::{Storage, v4};
use crate::errno::{fail, number};

// lwIP's numbers.
/// Without a name, the address to listen on.
const AI_PASSIVE: i32 = 0x01;
/// The name is wanted back.
const AI_CANONNAME: i32 = 0x02;
/// The name is an address.
const AI_NUMERICHOST: i32 = 0x04;
/// The service is a number; it always is.
const AI_NUMERICSERV: i32 = 0x08;
/// Families that the machine has no address of are left out.
const AI_ADDRCONFIG: i32 = 0x40;

/// One result in one piece of memory.
#[repr(C)]
struct Entry {
    info: addrinfo,
    address: Storage,
}

/// What is looked for, beside the name.
struct Wanted {
    flags: i32,
    family: Option<Family>,
    /// Types of sockets with their protocols.
    kinds: &'static [(i32, i32)],
    port: u16,
}

impl Wanted {
    /// By the hints and the service; the error is one of `EAI_*`.
    fn new(hints: Option<&addrinfo>, service: Option<&CStr>) -> Result<Wanted, i32> {
        const BOTH: [(i32, i32); 2] = [(SOCK_STREAM, IPPROTO_TCP), (SOCK_DGRAM, IPPROTO_UDP)];
        const KNOWN: i32 =
            AI_PASSIVE | AI_CANONNAME | AI_NUMERICHOST | AI_NUMERICSERV | AI_ADDRCONFIG;
        let (flags, family, kind, protocol) = hints.map_or((0, AF_UNSPEC, 0, 0), |hints| {
            let family = (hints.ai_flags, hints.ai_family);
            (family.0, family.1, hints.ai_socktype, hints.ai_protocol)
        });
        if flags & !KNOWN != 0 {
            return Err(EAI_BADFLAGS);
        }
        let port = match service {
            None => 0,
            Some(service) => {
                service.to_str().ok().and_then(|service| service.parse().ok()).ok_or(EAI_SERVICE)?
            }
        };
        Ok(Wanted {
            flags,
            family: match family {
                AF_UNSPEC => None,
                AF_INET => Some(Family::V4),
                AF_INET6 => Some(Family::V6),
                _ => return Err(EAI_FAMILY),
            },
            kinds: match (kind, protocol) {
                (0, 0) => &BOTH,
                (0 | SOCK_STREAM, 0 | IPPROTO_TCP) => &BOTH[..1],
                (0 | SOCK_DGRAM, 0 | IPPROTO_UDP) => &BOTH[1..],
                _ => return Err(EAI_SOCKTYPE),
            },
            port,
        })
    }

    /// Without a name: every address of this machine to listen on, or the one to reach it.
    fn own(&self) -> impl Iterator<Item = SocketAddr> {
        let (v4, v6) = match self.flags & AI_PASSIVE {
            0 => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            _ => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        };
        let v4 = (self.family != Some(Family::V6)).then_some(IpAddr::V4(v4));
        let v6 = (self.family != Some(Family::V4)).then_some(IpAddr::V6(v6));
        // As glibc has it: to listen, IPv4 first.
        let order = match self.flags & AI_PASSIVE {
            0 => [v6, v4],
            _ => [v4, v6],
        };
        order.into_iter().flatten().map(|ip| (ip, 0).into())
    }

    /// Makes the list that C wants.
    fn list(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
        name: Option<&CStr>,
    ) -> *mut addrinfo {
        let mut first = ptr::null_mut();
        let mut end: *mut *mut addrinfo = &raw mut first;
        for mut address in addresses {
            address.set_port(self.port);
            for (kind, protocol) in self.kinds {
                let (storage, length) = Storage::new(address);
                let entry = Box::leak(Box::new(Entry {
                    info: addrinfo {
                        ai_flags: self.flags,
                        ai_family: Storage::family(address),
                        ai_socktype: *kind,
                        ai_protocol: *protocol,
                        ai_addrlen: length as u32,
                        ai_canonname: match (first.is_null(), name) {
                            (true, Some(name)) => CString::from(name).into_raw(),
                            _ => ptr::null_mut(),
                        },
                        ai_addr: ptr::null_mut(),
                        ai_next: ptr::null_mut(),
                    },
                    address: storage,
                }));
                entry.info.ai_addr = (&raw mut entry.address).cast();
                let entry: *mut Entry = entry;
                // SAFETY: `end` is where the list ends: in `first`, or in the entry before.
                unsafe { end.write(entry.cast()) };
                // SAFETY: the entry was just made.
                end = unsafe { &raw mut (*entry).info.ai_next };
            }
        }
        first
    }
}

/// The number that stands for a failure.
fn code(failure: Failure) -> i32 {
    match failure {
        Failure::NoName => EAI_NONAME,
        Failure::Again => EAI_AGAIN,
        Failure::Refused => EAI_FAIL,
        Failure::OutOfMemory => EAI_MEMORY,
        Failure::System(error) => {
            fail(number(error));
            EAI_SYSTEM
        }
    }
}

/// A C string, or none.
unsafe fn optional<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller passes null or a C string that lives long enough.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> i32 {
    if result.is_null() {
        fail(EINVAL);
        return EAI_SYSTEM;
    }
    // SAFETY: the caller passes C strings, or null, and hints, or null.
    let (node, service, hints) = unsafe { (optional(node), optional(service), hints.as_ref()) };
    let list = Wanted::new(hints, service).and_then(|wanted| {
        let Some(node) = node else {
            // Nothing was asked.
            service.ok_or(EAI_NONAME)?;
            return Ok(wanted.list(wanted.own(), None));
        };
        let found = if wanted.flags & AI_NUMERICHOST == 0 {
            resolve::lookup(node.to_bytes(), wanted.family)
        } else {
            resolve::numeric(node.to_bytes(), wanted.family).map(|address| [address].into())
        };
        let mut found = found.map_err(code)?;
        if wanted.flags & AI_ADDRCONFIG != 0 {
            found.retain(|address| resolve::is_configured(*address));
        }
        if found.is_empty() {
            return Err(EAI_NONAME);
        }
        let name = (wanted.flags & AI_CANONNAME != 0).then_some(node);
        Ok(wanted.list(found.into_iter(), name))
    });
    match list {
        Ok(list) => {
            // SAFETY: the caller passes room for a pointer.
            unsafe { result.write(list) };
            0
        }
        Err(code) => code,
    }
}

/// Frees a list that `sys_getaddrinfo` has made.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_freeaddrinfo(mut list: *mut addrinfo) {
    while !list.is_null() {
        // SAFETY: each was made from a box of an entry, whose first field it is, and is freed once.
        let entry = unsafe { Box::from_raw(list.cast::<Entry>()) };
        if !entry.info.ai_canonname.is_null() {
            // SAFETY: it was made from a `CString`.
            drop(unsafe { CString::from_raw(entry.info.ai_canonname) });
        }
        list = entry.info.ai_next;
    }
}

/// Writes the first address of a name: four bytes or sixteen, as there is room for.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getaddrbyname(
    name: *const c_char,
    address: *mut u8,
    length: usize,
) -> i32 {
    let family = match length {
        _ if name.is_null() || address.is_null() => return fail(EINVAL),
        4 => Family::V4,
        16 => Family::V6,
        _ => return fail(EINVAL),
    };
    // SAFETY: the caller passes a C string.
    let name = unsafe { CStr::from_ptr(name) };
    let found = match resolve::lookup(name.to_bytes(), Some(family)) {
        Ok(found) => found.first().map(SocketAddr::ip),
        Err(failure) => {
            return fail(match failure {
                Failure::System(error) => number(error),
                Failure::OutOfMemory => hermit_abi::errno::ENOMEM,
                Failure::NoName => hermit_abi::errno::ENOENT,
                Failure::Again => hermit_abi::errno::EAGAIN,
                Failure::Refused => EIO,
            });
        }
    };
    match found {
        Some(IpAddr::V4(found)) => {
            // SAFETY: the caller passes room for so many bytes.
            unsafe { address.cast::<in_addr>().write_unaligned(v4(found)) };
            0
        }
        Some(IpAddr::V6(found)) => {
            let s6_addr = found.octets();
            // SAFETY: as above.
            unsafe { address.cast::<in6_addr>().write_unaligned(in6_addr { s6_addr }) };
            0
        }
        None => fail(hermit_abi::errno::ENOENT),
    }
}

/// What a number of `EAI_*` means, in glibc's words. Not part of hermit-abi.
#[unsafe(no_mangle)]
extern "C" fn sys_gai_strerror(code: i32) -> *const c_char {
    let text = match code {
        EAI_AGAIN => c"Temporary failure in name resolution",
        EAI_BADFLAGS => c"Bad value for ai_flags",
        EAI_FAIL => c"Non-recoverable failure in name resolution",
        EAI_FAMILY => c"ai_family not supported",
        EAI_MEMORY => c"Memory allocation failure",
        EAI_NONAME => c"Name or service not known",
        EAI_SERVICE => c"Servname not supported for ai_socktype",
        EAI_SOCKTYPE => c"ai_socktype not supported",
        EAI_SYSTEM => c"System error",
        _ => c"Unknown error",
    };
    text.as_ptr()
}
