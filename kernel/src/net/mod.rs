//! The network: sockets for TCP and UDP over IPv4 and IPv6.
//!
//! It comes up at the first socket.

mod address;
mod advertisement;
mod claims;
mod closed;
mod datagram;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod end;
mod frame;
mod link;
mod listener;
pub mod option;
mod own;
mod port;
mod reply;
pub mod resolve;
mod ring;
pub(crate) mod signal;
mod socket;
mod stack;
mod stream;
#[cfg(test)]
mod tests;
mod thread;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::debug::Line;
use crate::{Error, Result, fd};
use socket::Handle;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Addresses of four bytes.
    V4,
    /// Addresses of sixteen bytes.
    V6,
}

/// A stream or datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
}

/// How a single call departs from what is set for its socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// What is read stays to be read (`MSG_PEEK`).
    pub peek: bool,
    /// The call does not wait (`MSG_DONTWAIT`).
    pub nonblocking: bool,
}

/// The half of a connection that is shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nothing is read any more.
    Read,
    /// Nothing is written any more: the other side reads the end.
    Write,
    /// Both.
    Both,
}

/// What sockets can do beyond other descriptors. What makes no sense for one of its kind is
/// [`Error::Unsupported`].
pub trait Socket: Send + Sync {
    /// Takes a local address; port 0 is any that is free.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`]; [`Error::AddressNotAvailable`]; [`Error::InvalidArgument`] when it has one;
    /// [`Error::FamilyNotSupported`].
    fn bind(&self, local: SocketAddr) -> Result<()>;

    /// Accepts connections from now on; up to `backlog` may wait to be taken.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`]; [`Error::InvalidArgument`] when it is connected.
    fn listen(&self, backlog: usize) -> Result<()>;

    /// Takes the next connection.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`]; [`Error::InvalidArgument`] when it does not listen.
    fn accept(&self) -> Result<(Arc<dyn fd::Object>, SocketAddr)>;

    /// Connects, or, for datagrams, chooses the one that they go to and come from. `None` undoes that.
    ///
    /// # Errors
    ///
    /// [`Error::InProgress`] when the socket does not wait; [`Error::ConnectionRefused`];
    /// [`Error::NetworkUnreachable`]; [`Error::HostUnreachable`]; [`Error::TimedOut`];
    /// [`Error::AlreadyConnected`].
    fn connect(&self, peer: Option<SocketAddr>) -> Result<()>;

    /// Reads, and tells who has sent it; for a datagram, the length may be more than the buffer had room for
    /// only when `flags` ask for that.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`], also when the time-out is over; [`Error::ConnectionReset`];
    /// [`Error::ConnectionRefused`]; [`Error::NotConnected`].
    fn receive(&self, buffer: &mut [u8], flags: Flags) -> Result<(usize, Option<SocketAddr>)>;

    /// Sends, to somebody or to the peer.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`], also when the time-out is over; [`Error::BrokenPipe`];
    /// [`Error::ConnectionReset`]; [`Error::DestinationRequired`]; [`Error::MessageTooLong`].
    fn send(&self, bytes: &[u8], to: Option<SocketAddr>, flags: Flags) -> Result<usize>;

    /// The own address; unspecified, with port 0, before there is one.
    ///
    /// # Errors
    ///
    /// None.
    fn local(&self) -> Result<SocketAddr>;

    /// The address of the other side.
    ///
    /// # Errors
    ///
    /// [`Error::NotConnected`].
    fn peer(&self) -> Result<SocketAddr>;

    /// Shuts one half, or both.
    ///
    /// # Errors
    ///
    /// [`Error::NotConnected`].
    fn shutdown(&self, how: Shutdown) -> Result<()>;

    /// The value of an option.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchOption`].
    fn option(&self, name: option::Name) -> Result<option::Value>;

    /// Sets an option.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchOption`]; [`Error::InvalidArgument`].
    fn set_option(&self, setting: option::Setting) -> Result<()>;
}

/// A new TCP socket.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub fn tcp(family: Family, nonblocking: bool) -> Result<Arc<dyn fd::Object>> {
    shared(Handle::new(Kind::Stream, family, nonblocking)?)
}

/// A new UDP socket.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub fn udp(family: Family, nonblocking: bool) -> Result<Arc<dyn fd::Object>> {
    shared(Handle::new(Kind::Datagram, family, nonblocking)?)
}

/// A socket that several descriptors may stand for.
fn shared(handle: Handle) -> Result<Arc<dyn fd::Object>> {
    #[cfg(target_os = "none")]
    let object = Arc::try_new(handle).map_err(|_| Error::OutOfMemory)?;
    #[cfg(not(target_os = "none"))]
    let object = Arc::new(handle);
    Ok(object)
}

/// Says, once, that this machine has no network device, and how it gets one.
fn no_device() -> Error {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Relaxed) {
        Line::new()
            .text("skete: no network device: only this machine itself can be reached; ")
            .text("run it with --net user or --net tap (QEMU: -netdev, and -device virtio-net-device or virtio-net-pci)")
            .end();
    }
    Error::NetworkDown
}

/// The name servers of this machine, as `dns=` or DHCP has named them. Waits for DHCP, up to a few seconds.
///
/// # Errors
///
/// [`Error::NetworkDown`] when there is none.
pub fn name_servers() -> Result<Vec<IpAddr>> {
    let given = own::name_servers();
    if !given.is_empty() {
        return Ok(given);
    }
    socket::when_configured(|stack| {
        if stack.links.len() == 1 {
            return Err(no_device());
        }
        let servers = stack.links.iter().flat_map(|link| &link.name_servers);
        let servers: Vec<IpAddr> = servers.copied().collect();
        match servers.is_empty() {
            true => Err(Error::NetworkUnreachable),
            false => Ok(servers),
        }
    })
}
