//! Options of sockets.

use core::ffi::c_void;
use core::net::Ipv6Addr;

use hermit_abi::{
    IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IP_MULTICAST_LOOP, IP_MULTICAST_TTL, IP_TTL, IPPROTO_IP,
    IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP,
    IPV6_MULTICAST_LOOP, IPV6_V6ONLY, SO_BROADCAST, SO_ERROR, SO_KEEPALIVE, SO_LINGER, SO_RCVBUF,
    SO_RCVTIMEO, SO_REUSEADDR, SO_SNDBUF, SO_SNDTIMEO, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET,
    TCP_NODELAY, in_addr, ip_mreq, ipv6_mreq, linger, socklen_t, timeval,
};
use skete_kernel::net::option::{Name, Setting, Value};
use skete_kernel::net::{Kind, Socket};
use skete_kernel::{Error, Result};

use super::address::{from_v4, v4};
use super::{number, status, with};
use crate::pointers;

// lwIP's numbers.
const SO_ACCEPTCONN: i32 = 0x0002;
const SO_REUSEPORT: i32 = 0x0200;
const SO_TYPE: i32 = 0x1008;
const TCP_KEEPIDLE: i32 = 3;
const TCP_KEEPINTVL: i32 = 4;
const IP_MULTICAST_IF: i32 = 6;
// Linux's numbers, as IPV6_MULTICAST_LOOP is.
const IPV6_UNICAST_HOPS: i32 = 16;
const IPV6_MULTICAST_IF: i32 = 17;
const IPV6_MULTICAST_HOPS: i32 = 18;

/// Hops of a packet when nobody says otherwise, as on Linux.
const HOPS: u8 = 64;
/// The same for a group.
const GROUP_HOPS: u8 = 1;

/// A type of C that an option's value has.
///
/// # Safety
///
/// Any bytes are a value.
unsafe trait Plain: Copy {}

// SAFETY: integers, and structures of nothing else.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for timeval {}
// SAFETY: as above.
unsafe impl Plain for linger {}
// SAFETY: as above.
unsafe impl Plain for in_addr {}
// SAFETY: as above.
unsafe impl Plain for ip_mreq {}
// SAFETY: as above.
unsafe impl Plain for ipv6_mreq {}

/// Reads a value, which may be longer than is needed.
fn read<T: Plain>(bytes: &[u8]) -> Result<T> {
    if bytes.len() < size_of::<T>() {
        return Err(Error::InvalidArgument);
    }
    // SAFETY: there are enough bytes, and any bytes will do.
    Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// A number, which for these options may also be a single byte.
fn small(bytes: &[u8]) -> Result<i32> {
    match bytes {
        [byte] => Ok(i32::from(*byte)),
        _ => read(bytes),
    }
}

/// A number of hops; -1 is what it is when nobody says otherwise.
fn hops(value: i32, otherwise: u8) -> Result<u8> {
    match value {
        -1 => Ok(otherwise),
        _ => u8::try_from(value).map_err(|_| Error::InvalidArgument),
    }
}

/// A time; none for zero.
fn time(bytes: &[u8]) -> Result<Option<u64>> {
    let value: timeval = read(bytes)?;
    let Ok(microseconds @ 0..1_000_000) = u64::try_from(value.tv_usec) else {
        return Err(Error::InvalidArgument);
    };
    // As on Linux, one that is over before it begins is no time at all.
    let seconds = u64::try_from(value.tv_sec).unwrap_or(0);
    let nanoseconds = seconds.saturating_mul(1_000_000_000);
    let nanoseconds = nanoseconds.saturating_add(microseconds * 1_000);
    Ok((nanoseconds > 0).then_some(nanoseconds))
}

/// What is to be set, by the value's bytes.
fn setting(level: i32, name: i32, bytes: &[u8]) -> Result<Setting> {
    let flag = || read::<i32>(bytes).map(|value| value != 0);
    let size = || usize::try_from(read::<i32>(bytes)?).map_err(|_| Error::InvalidArgument);
    Ok(match (level, name) {
        (SOL_SOCKET, SO_REUSEADDR) => Setting::ReuseAddress(flag()?),
        (SOL_SOCKET, SO_REUSEPORT) => Setting::ReusePort(flag()?),
        (SOL_SOCKET, SO_BROADCAST) => Setting::Broadcast(flag()?),
        (SOL_SOCKET, SO_KEEPALIVE) => Setting::KeepAlive(flag()?),
        (SOL_SOCKET, SO_LINGER) => {
            let value: linger = read(bytes)?;
            let seconds = u64::try_from(value.l_linger).unwrap_or(u64::MAX);
            let time = seconds.saturating_mul(1_000_000_000);
            Setting::Linger((value.l_onoff != 0).then_some(time))
        }
        (SOL_SOCKET, SO_RCVTIMEO) => Setting::ReadTimeout(time(bytes)?),
        (SOL_SOCKET, SO_SNDTIMEO) => Setting::WriteTimeout(time(bytes)?),
        (SOL_SOCKET, SO_RCVBUF) => Setting::ReceiveBuffer(size()?),
        (SOL_SOCKET, SO_SNDBUF) => Setting::SendBuffer(size()?),
        (IPPROTO_TCP, TCP_NODELAY) => Setting::NoDelay(flag()?),
        (IPPROTO_TCP, TCP_KEEPIDLE | TCP_KEEPINTVL) => {
            // Linux's limits.
            let Ok(seconds @ 1..=32767) = u32::try_from(read::<i32>(bytes)?) else {
                return Err(Error::InvalidArgument);
            };
            Setting::KeepAliveInterval(seconds)
        }
        (IPPROTO_IP, IP_TTL) => match hops(small(bytes)?, HOPS)? {
            0 => return Err(Error::InvalidArgument),
            hops => Setting::HopLimit(hops),
        },
        (IPPROTO_IP, IP_MULTICAST_TTL) => {
            Setting::MulticastHopLimit(hops(small(bytes)?, GROUP_HOPS)?)
        }
        (IPPROTO_IP, IP_MULTICAST_LOOP) => Setting::MulticastLoop(small(bytes)? != 0),
        (IPPROTO_IP, IP_MULTICAST_IF) => {
            // An address, or one behind a group's.
            let address = match bytes.len() {
                4..8 => read::<in_addr>(bytes)?,
                _ => read::<ip_mreq>(bytes)?.imr_interface,
            };
            Setting::MulticastAddress(from_v4(address))
        }
        (IPPROTO_IP, IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP) => {
            let value: ip_mreq = read(bytes)?;
            let (group, interface) = (from_v4(value.imr_multiaddr), from_v4(value.imr_interface));
            match name {
                IP_ADD_MEMBERSHIP => Setting::JoinV4(group, interface),
                _ => Setting::LeaveV4(group, interface),
            }
        }
        (IPPROTO_IPV6, IPV6_V6ONLY) => Setting::V6Only(flag()?),
        (IPPROTO_IPV6, IPV6_UNICAST_HOPS) => Setting::HopLimit(hops(read(bytes)?, HOPS)?),
        (IPPROTO_IPV6, IPV6_MULTICAST_HOPS) => {
            Setting::MulticastHopLimit(hops(read(bytes)?, GROUP_HOPS)?)
        }
        (IPPROTO_IPV6, IPV6_MULTICAST_LOOP) => Setting::MulticastLoop(flag()?),
        (IPPROTO_IPV6, IPV6_MULTICAST_IF) => {
            let index = u32::try_from(read::<i32>(bytes)?);
            Setting::MulticastInterface(index.map_err(|_| Error::InvalidArgument)?)
        }
        (IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP | IPV6_DROP_MEMBERSHIP) => {
            let value: ipv6_mreq = read(bytes)?;
            let group = Ipv6Addr::from(value.ipv6mr_multiaddr.s6_addr);
            match name {
                IPV6_ADD_MEMBERSHIP => Setting::JoinV6(group, value.ipv6mr_interface),
                _ => Setting::LeaveV6(group, value.ipv6mr_interface),
            }
        }
        _ => return Err(Error::NoSuchOption),
    })
}

/// What is asked for.
fn asked(level: i32, name: i32) -> Result<Name> {
    Ok(match (level, name) {
        (SOL_SOCKET, SO_REUSEADDR) => Name::ReuseAddress,
        (SOL_SOCKET, SO_REUSEPORT) => Name::ReusePort,
        (SOL_SOCKET, SO_BROADCAST) => Name::Broadcast,
        (SOL_SOCKET, SO_KEEPALIVE) => Name::KeepAlive,
        (SOL_SOCKET, SO_LINGER) => Name::Linger,
        (SOL_SOCKET, SO_RCVTIMEO) => Name::ReadTimeout,
        (SOL_SOCKET, SO_SNDTIMEO) => Name::WriteTimeout,
        (SOL_SOCKET, SO_RCVBUF) => Name::ReceiveBuffer,
        (SOL_SOCKET, SO_SNDBUF) => Name::SendBuffer,
        (SOL_SOCKET, SO_ERROR) => Name::TakeError,
        (SOL_SOCKET, SO_ACCEPTCONN) => Name::Listens,
        (SOL_SOCKET, SO_TYPE) => Name::Kind,
        (IPPROTO_TCP, TCP_NODELAY) => Name::NoDelay,
        (IPPROTO_TCP, TCP_KEEPIDLE | TCP_KEEPINTVL) => Name::KeepAliveInterval,
        (IPPROTO_IP, IP_TTL) | (IPPROTO_IPV6, IPV6_UNICAST_HOPS) => Name::HopLimit,
        (IPPROTO_IP, IP_MULTICAST_TTL) | (IPPROTO_IPV6, IPV6_MULTICAST_HOPS) => {
            Name::MulticastHopLimit
        }
        (IPPROTO_IP, IP_MULTICAST_LOOP) | (IPPROTO_IPV6, IPV6_MULTICAST_LOOP) => {
            Name::MulticastLoop
        }
        (IPPROTO_IP, IP_MULTICAST_IF) => Name::MulticastAddress,
        (IPPROTO_IPV6, IPV6_MULTICAST_IF) => Name::MulticastInterface,
        (IPPROTO_IPV6, IPV6_V6ONLY) => Name::V6Only,
        _ => return Err(Error::NoSuchOption),
    })
}

/// Sockets for IPv4 have no options of IPv6, and datagrams none of TCP.
fn check_level(socket: &dyn Socket, level: i32) -> Result<()> {
    let kind = || socket.option(Name::Kind);
    let known = match level {
        SOL_SOCKET | IPPROTO_IP => true,
        IPPROTO_IPV6 => socket.local()?.is_ipv6(),
        IPPROTO_TCP => kind()? == Value::Kind(Kind::Stream),
        IPPROTO_UDP => kind()? == Value::Kind(Kind::Datagram),
        _ => false,
    };
    known.then_some(()).ok_or(Error::NoSuchOption)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_setsockopt(
    descriptor: i32,
    level: i32,
    name: i32,
    value: *const c_void,
    length: socklen_t,
) -> i32 {
    status(with(descriptor, |socket| {
        check_level(socket, level)?;
        // SAFETY: the caller passes a value of this length.
        let bytes = unsafe { pointers::bytes(value.cast(), length as usize) }?;
        socket.set_option(setting(level, name, bytes)?)
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_getsockopt(
    descriptor: i32,
    level: i32,
    name: i32,
    value: *mut c_void,
    length: *mut socklen_t,
) -> i32 {
    status(with(descriptor, |socket| {
        check_level(socket, level)?;
        let asked = asked(level, name)?;
        if length.is_null() || !length.is_aligned() {
            return Err(Error::InvalidArgument);
        }
        // SAFETY: the caller passes a length, and room for so much.
        let buffer = unsafe { pointers::buffer(value.cast(), *length as usize) }?;
        let written = match socket.option(asked)? {
            Value::Flag(flag) => write(buffer, i32::from(flag)),
            Value::Number(number) => write(buffer, i32::try_from(number).unwrap_or(i32::MAX)),
            Value::Address(address) => write(buffer, v4(address)),
            Value::Error(error) => write(buffer, error.map_or(0, number)),
            Value::Kind(Kind::Stream) => write(buffer, SOCK_STREAM),
            Value::Kind(Kind::Datagram) => write(buffer, SOCK_DGRAM),
            Value::Time(time) if asked == Name::Linger => {
                let seconds = time.unwrap_or(0) / 1_000_000_000;
                let value = linger {
                    l_onoff: time.is_some().into(),
                    l_linger: i32::try_from(seconds).unwrap_or(i32::MAX),
                };
                write(buffer, value)
            }
            Value::Time(time) => {
                let time = time.unwrap_or(0);
                let value = timeval {
                    tv_sec: (time / 1_000_000_000) as i64,
                    tv_usec: (time / 1_000 % 1_000_000) as i32,
                };
                write(buffer, value)
            }
        };
        // SAFETY: as above.
        unsafe { *length = written as socklen_t };
        Ok(())
    }))
}

/// Writes as much of a value as there is room for; tells how much that was.
fn write<T: Plain>(buffer: &mut [u8], value: T) -> usize {
    let length = buffer.len().min(size_of::<T>());
    let from: *const T = &raw const value;
    // SAFETY: both have so many bytes.
    unsafe { core::ptr::copy_nonoverlapping(from.cast(), buffer.as_mut_ptr(), length) };
    length
}
