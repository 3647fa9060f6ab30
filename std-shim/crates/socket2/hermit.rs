//! Sockets by the C interface of a unikernel (crate `hermit-abi`).
//!
//! Every function gives a negative error number when it fails. What the interface has no name for
//! is [`UNSUPPORTED`]: asking for it is an error of kind `Unsupported`, never another option.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use crate::{Domain, Protocol, SockAddr, TcpKeepalive, Type};

pub(crate) use std::ffi::c_int;

pub(crate) use libc::{
    in6_addr, in_addr, sa_family_t, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage,
    socklen_t, AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP,
    IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP, IPV6_MULTICAST_LOOP, IPV6_V6ONLY, IP_ADD_MEMBERSHIP,
    IP_DROP_MEMBERSHIP, IP_MULTICAST_LOOP, IP_MULTICAST_TTL, IP_TOS, IP_TTL, MSG_PEEK, SOCK_DGRAM,
    SOCK_STREAM, SOL_SOCKET, SO_BROADCAST, SO_ERROR, SO_KEEPALIVE, SO_LINGER, SO_RCVBUF,
    SO_RCVTIMEO, SO_REUSEADDR, SO_SNDBUF, SO_SNDTIMEO, TCP_NODELAY,
};

/// What the interface has no name for: a family, a type, an option.
const UNSUPPORTED: c_int = -1;

pub(crate) const AF_UNIX: c_int = UNSUPPORTED;
#[cfg(feature = "all")]
pub(crate) const SOCK_RAW: c_int = UNSUPPORTED;
#[cfg(feature = "all")]
pub(crate) const SOCK_SEQPACKET: c_int = UNSUPPORTED;
// The numbers that IANA gave these protocols, as with all `IPPROTO_*`.
pub(crate) const IPPROTO_ICMP: c_int = 1;
pub(crate) const IPPROTO_ICMPV6: c_int = 58;
// The system's own numbers, for which libc has no names.
pub(crate) const SO_TYPE: c_int = 0x1008;
pub(crate) const IP_MULTICAST_IF: c_int = 6;
pub(crate) const IPV6_UNICAST_HOPS: c_int = 16;
pub(crate) const IPV6_MULTICAST_IF: c_int = 17;
pub(crate) const IPV6_MULTICAST_HOPS: c_int = 18;
#[cfg(feature = "all")]
const SO_REUSEPORT: c_int = 0x0200;
const TCP_KEEPIDLE: c_int = 3;
const TCP_KEEPINTVL: c_int = 4;
pub(crate) const SO_OOBINLINE: c_int = UNSUPPORTED;
pub(crate) const IP_HDRINCL: c_int = UNSUPPORTED;
pub(crate) const MSG_OOB: c_int = c_int::MIN;

/// As in `hermit-abi`.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub(crate) struct linger {
    pub(crate) l_onoff: i32,
    pub(crate) l_linger: i32,
}

/// `ip_mreq` of `hermit-abi`.
#[repr(C)]
pub(crate) struct IpMreq {
    pub(crate) imr_multiaddr: in_addr,
    pub(crate) imr_interface: in_addr,
}

/// `ipv6_mreq` of `hermit-abi`.
#[repr(C)]
pub(crate) struct Ipv6Mreq {
    pub(crate) ipv6mr_multiaddr: in6_addr,
    pub(crate) ipv6mr_interface: u32,
}

/// `timeval` of `hermit-abi`.
#[repr(C)]
struct Timeval {
    tv_sec: i64,
    tv_usec: i32,
}

pub(crate) type Bool = c_int;
pub(crate) type RawSocket = c_int;
type Inner = std::net::TcpStream;
pub(crate) type Socket = Inner;

impl_debug!(Domain, libc::AF_INET, libc::AF_INET6, libc::AF_UNSPEC);
impl_debug!(Type, libc::SOCK_STREAM, libc::SOCK_DGRAM);
impl_debug!(
    Protocol,
    self::IPPROTO_ICMP,
    self::IPPROTO_ICMPV6,
    libc::IPPROTO_TCP,
    libc::IPPROTO_UDP,
);

fn unsupported(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}

/// Makes a result of what a function gave.
fn check(result: isize) -> io::Result<usize> {
    match usize::try_from(result) {
        Ok(value) => Ok(value),
        Err(_) => Err(io::Error::from_raw_os_error(-result as i32)),
    }
}

macro_rules! syscall {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        #[allow(unused_unsafe)]
        // SAFETY: every pointer passed below comes with its length and is valid for the call.
        let result = unsafe { libc::$name($($argument),*) };
        check(result as isize)
    }};
}

fn no_out_of_band(flags: c_int) -> io::Result<()> {
    match flags & MSG_OOB {
        0 => Ok(()),
        _ => Err(unsupported("out-of-band data is not supported")),
    }
}

pub(crate) unsafe fn socket_from_raw(socket: RawSocket) -> Inner {
    // SAFETY: the caller owns the descriptor.
    unsafe { Inner::from_raw_fd(socket) }
}

pub(crate) fn socket_as_raw(socket: &Inner) -> RawSocket {
    socket.as_raw_fd()
}

pub(crate) fn socket_into_raw(socket: Inner) -> RawSocket {
    socket.into_raw_fd()
}

pub(crate) fn unix_sockaddr(_: &Path) -> io::Result<SockAddr> {
    Err(unsupported("there are no Unix domain sockets"))
}

pub(crate) fn socket(family: c_int, ty: c_int, protocol: c_int) -> io::Result<RawSocket> {
    if family == UNSUPPORTED {
        return Err(unsupported("there are no Unix domain sockets"));
    }
    if ty == UNSUPPORTED {
        return Err(unsupported("there are stream and datagram sockets only"));
    }
    syscall!(socket(family, ty, protocol)).map(|fd| fd as RawSocket)
}

pub(crate) fn bind(fd: RawSocket, addr: &SockAddr) -> io::Result<()> {
    syscall!(bind(fd, addr.as_ptr().cast::<sockaddr>(), addr.len())).map(drop)
}

pub(crate) fn connect(fd: RawSocket, addr: &SockAddr) -> io::Result<()> {
    syscall!(connect(fd, addr.as_ptr().cast::<sockaddr>(), addr.len())).map(drop)
}

pub(crate) fn poll_connect(socket: &crate::Socket, timeout: Duration) -> io::Result<()> {
    let start = Instant::now();
    let mut pollfd = libc::pollfd {
        fd: socket.as_raw(),
        events: libc::POLLIN | libc::POLLOUT,
        revents: 0,
    };
    loop {
        let elapsed = start.elapsed();
        if elapsed >= timeout {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let left = (timeout - elapsed).as_millis();
        let left = left.clamp(1, c_int::MAX as u128) as c_int;
        match syscall!(poll(&mut pollfd, 1, left)) {
            Ok(0) => {}
            Ok(_) if pollfd.revents & (libc::POLLHUP | libc::POLLERR) != 0 => {
                return match socket.take_error()? {
                    Some(error) => Err(error),
                    None => Err(io::Error::other("no error set after POLLHUP")),
                };
            }
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn listen(fd: RawSocket, backlog: c_int) -> io::Result<()> {
    syscall!(listen(fd, backlog)).map(drop)
}

pub(crate) fn accept(fd: RawSocket) -> io::Result<(RawSocket, SockAddr)> {
    // SAFETY: `accept` writes the address and its length.
    unsafe { SockAddr::try_init(|storage, len| syscall!(accept(fd, storage.cast(), len))) }
        .map(|(fd, addr)| (fd as RawSocket, addr))
}

pub(crate) fn getsockname(fd: RawSocket) -> io::Result<SockAddr> {
    // SAFETY: `getsockname` writes the address and its length.
    unsafe { SockAddr::try_init(|storage, len| syscall!(getsockname(fd, storage.cast(), len))) }
        .map(|(_, addr)| addr)
}

pub(crate) fn getpeername(fd: RawSocket) -> io::Result<SockAddr> {
    // SAFETY: `getpeername` writes the address and its length.
    unsafe { SockAddr::try_init(|storage, len| syscall!(getpeername(fd, storage.cast(), len))) }
        .map(|(_, addr)| addr)
}

pub(crate) fn try_clone(fd: RawSocket) -> io::Result<RawSocket> {
    syscall!(dup(fd)).map(|fd| fd as RawSocket)
}

#[cfg(feature = "all")]
pub(crate) fn nonblocking(fd: RawSocket) -> io::Result<bool> {
    let flags = syscall!(fcntl(fd, libc::F_GETFL, 0))?;
    Ok(flags as c_int & libc::O_NONBLOCK != 0)
}

pub(crate) fn set_nonblocking(fd: RawSocket, nonblocking: bool) -> io::Result<()> {
    let mut on = c_int::from(nonblocking);
    let on: *mut c_int = &mut on;
    syscall!(ioctl(fd, libc::FIONBIO, on.cast())).map(drop)
}

pub(crate) fn shutdown(fd: RawSocket, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    syscall!(shutdown(fd, how)).map(drop)
}

pub(crate) fn recv(fd: RawSocket, buf: &mut [MaybeUninit<u8>], flags: c_int) -> io::Result<usize> {
    no_out_of_band(flags)?;
    syscall!(recv(fd, buf.as_mut_ptr().cast(), buf.len(), flags))
}

pub(crate) fn recv_from(
    fd: RawSocket,
    buf: &mut [MaybeUninit<u8>],
    flags: c_int,
) -> io::Result<(usize, SockAddr)> {
    no_out_of_band(flags)?;
    // SAFETY: `recvfrom` writes the address and its length.
    unsafe {
        SockAddr::try_init(|addr, addrlen| {
            syscall!(recvfrom(
                fd,
                buf.as_mut_ptr().cast(),
                buf.len(),
                flags,
                addr.cast(),
                addrlen
            ))
        })
    }
}

pub(crate) fn peek_sender(fd: RawSocket) -> io::Result<SockAddr> {
    let (_, sender) = recv_from(fd, &mut [MaybeUninit::uninit(); 8], MSG_PEEK)?;
    Ok(sender)
}

pub(crate) fn send(fd: RawSocket, buf: &[u8], flags: c_int) -> io::Result<usize> {
    no_out_of_band(flags)?;
    syscall!(send(fd, buf.as_ptr().cast(), buf.len(), flags))
}

pub(crate) fn send_to(
    fd: RawSocket,
    buf: &[u8],
    addr: &SockAddr,
    flags: c_int,
) -> io::Result<usize> {
    no_out_of_band(flags)?;
    syscall!(sendto(
        fd,
        buf.as_ptr().cast(),
        buf.len(),
        flags,
        addr.as_ptr().cast::<sockaddr>(),
        addr.len(),
    ))
}

pub(crate) fn timeout_opt(fd: RawSocket, opt: c_int, val: c_int) -> io::Result<Option<Duration>> {
    // SAFETY: the options for timeouts hold a `timeval`.
    let time: Timeval = unsafe { getsockopt(fd, opt, val)? };
    let duration = Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    Ok((!duration.is_zero()).then_some(duration))
}

pub(crate) fn set_timeout_opt(
    fd: RawSocket,
    opt: c_int,
    val: c_int,
    duration: Option<Duration>,
) -> io::Result<()> {
    let duration = duration.unwrap_or_default();
    let time = Timeval {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_usec: duration.subsec_micros() as i32,
    };
    // SAFETY: the options for timeouts hold a `timeval`.
    unsafe { setsockopt(fd, opt, val, time) }
}

/// As on Unix.
#[cfg(feature = "all")]
impl crate::Socket {
    /// Get the value of the `SO_REUSEPORT` option on this socket.
    ///
    /// For more information about this option, see [`set_reuse_port`].
    ///
    /// [`set_reuse_port`]: crate::Socket::set_reuse_port
    pub fn reuse_port(&self) -> io::Result<bool> {
        // SAFETY: the option is a number.
        unsafe { getsockopt::<c_int>(self.as_raw(), SOL_SOCKET, SO_REUSEPORT) }
            .map(|reuse| reuse != 0)
    }

    /// Set value for the `SO_REUSEPORT` option on this socket: others that set it, too, may have the
    /// same port, and each connection or datagram is for one of them.
    pub fn set_reuse_port(&self, reuse: bool) -> io::Result<()> {
        // SAFETY: the option is a number.
        unsafe { setsockopt(self.as_raw(), SOL_SOCKET, SO_REUSEPORT, reuse as c_int) }
    }
}

#[cfg(feature = "all")]
pub(crate) fn tcp_keepalive_time(fd: RawSocket) -> io::Result<Duration> {
    // SAFETY: the option is a number of seconds.
    let seconds = unsafe { getsockopt::<c_int>(fd, IPPROTO_TCP, TCP_KEEPIDLE)? };
    Ok(Duration::from_secs(seconds as u64))
}

pub(crate) fn set_tcp_keepalive(fd: RawSocket, keepalive: &TcpKeepalive) -> io::Result<()> {
    // Keepalive itself has been turned on by the caller.
    if keepalive.retries.is_some() {
        return Err(unsupported(
            "the number of keepalive probes is the system's own",
        ));
    }
    let times = [
        (TCP_KEEPIDLE, keepalive.time),
        (TCP_KEEPINTVL, keepalive.interval),
    ];
    for (option, time) in times {
        if let Some(time) = time {
            let seconds = c_int::try_from(time.as_secs()).unwrap_or(c_int::MAX);
            // SAFETY: the option is a number of seconds.
            unsafe { setsockopt(fd, IPPROTO_TCP, option, seconds)? };
        }
    }
    Ok(())
}

/// Caller must ensure `T` is the correct type for `opt` and `val`.
pub(crate) unsafe fn getsockopt<T>(fd: RawSocket, opt: c_int, val: c_int) -> io::Result<T> {
    if val == UNSUPPORTED {
        return Err(unsupported("this socket option is not supported"));
    }
    let mut payload: MaybeUninit<T> = MaybeUninit::uninit();
    let mut len = mem::size_of::<T>() as socklen_t;
    syscall!(getsockopt(
        fd,
        opt,
        val,
        payload.as_mut_ptr().cast(),
        &mut len
    ))?;
    if len as usize != mem::size_of::<T>() {
        return Err(io::Error::other("a socket option has an unexpected size"));
    }
    // SAFETY: `getsockopt` has written all of it.
    Ok(unsafe { payload.assume_init() })
}

/// Caller must ensure `T` is the correct type for `opt` and `val`.
pub(crate) unsafe fn setsockopt<T>(
    fd: RawSocket,
    opt: c_int,
    val: c_int,
    payload: T,
) -> io::Result<()> {
    if val == UNSUPPORTED {
        return Err(unsupported("this socket option is not supported"));
    }
    let len = mem::size_of::<T>() as socklen_t;
    syscall!(setsockopt(fd, opt, val, ptr::addr_of!(payload).cast(), len)).map(drop)
}

pub(crate) const fn to_in_addr(addr: &Ipv4Addr) -> in_addr {
    in_addr {
        s_addr: u32::from_ne_bytes(addr.octets()),
    }
}

pub(crate) fn from_in_addr(in_addr: in_addr) -> Ipv4Addr {
    Ipv4Addr::from(in_addr.s_addr.to_ne_bytes())
}

pub(crate) const fn to_in6_addr(addr: &Ipv6Addr) -> in6_addr {
    in6_addr {
        s6_addr: addr.octets(),
    }
}

pub(crate) fn from_in6_addr(addr: in6_addr) -> Ipv6Addr {
    Ipv6Addr::from(addr.s6_addr)
}

#[repr(transparent)]
pub struct MaybeUninitSlice<'a>(&'a mut [MaybeUninit<u8>]);

impl<'a> MaybeUninitSlice<'a> {
    pub(crate) fn new(buf: &'a mut [MaybeUninit<u8>]) -> MaybeUninitSlice<'a> {
        MaybeUninitSlice(buf)
    }

    pub(crate) fn as_slice(&self) -> &[MaybeUninit<u8>] {
        self.0
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [MaybeUninit<u8>] {
        self.0
    }
}

impl AsFd for crate::Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the socket is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.as_raw()) }
    }
}

impl AsRawFd for crate::Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_raw()
    }
}

impl From<crate::Socket> for OwnedFd {
    fn from(socket: crate::Socket) -> OwnedFd {
        // SAFETY: the socket gives its descriptor away.
        unsafe { OwnedFd::from_raw_fd(socket.into_raw()) }
    }
}

impl IntoRawFd for crate::Socket {
    fn into_raw_fd(self) -> RawFd {
        self.into_raw()
    }
}

impl From<OwnedFd> for crate::Socket {
    fn from(fd: OwnedFd) -> crate::Socket {
        // SAFETY: the descriptor is open and owned.
        unsafe { crate::Socket::from_raw_fd(fd.into_raw_fd()) }
    }
}

impl FromRawFd for crate::Socket {
    unsafe fn from_raw_fd(fd: RawFd) -> crate::Socket {
        crate::Socket::from_raw(fd)
    }
}
