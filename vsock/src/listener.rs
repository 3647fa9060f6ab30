//! Sockets that wait for connections.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::{VMADDR_CID_ANY, VsockAddr, VsockStream, sys};

/// Connections that may wait to be accepted, as for [`TcpListener`].
const BACKLOG: i32 = 128;

/// A socket that waits for connections.
///
/// What does not depend on the family of the socket is done by std's own listener.
#[derive(Debug)]
pub struct VsockListener(TcpListener);

impl VsockListener {
    /// Listens at an address: on a port, or on [`VMADDR_PORT_ANY`](crate::VMADDR_PORT_ANY) that is free.
    ///
    /// # Errors
    ///
    /// `AddrInUse`; `AddrNotAvailable` when the context is none of this machine's; the system's, without a device
    /// for such sockets.
    pub fn bind(address: VsockAddr) -> io::Result<VsockListener> {
        let socket = sys::socket()?;
        sys::bind(socket.as_fd(), address)?;
        sys::listen(socket.as_fd(), BACKLOG)?;
        Ok(VsockListener(socket.into()))
    }

    /// The same at a port of whatever context this machine has.
    ///
    /// # Errors
    ///
    /// As for [`VsockListener::bind`].
    pub fn bind_port(port: u32) -> io::Result<VsockListener> {
        VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, port))
    }

    /// Waits for the next connection; tells who it is with.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when it does not wait.
    pub fn accept(&self) -> io::Result<(VsockStream, VsockAddr)> {
        let (socket, peer) = sys::accept(self.as_fd())?;
        Ok((socket.into(), peer))
    }

    /// The connections, one after the other, without end.
    #[must_use]
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<VsockAddr> {
        sys::local(self.as_fd())
    }

    /// Another one for the same socket.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn try_clone(&self) -> io::Result<VsockListener> {
        self.0.try_clone().map(VsockListener)
    }

    /// Chooses whether `accept` waits.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }
}

/// The connections of a listener.
#[derive(Debug)]
pub struct Incoming<'a>(&'a VsockListener);

impl Iterator for Incoming<'_> {
    type Item = io::Result<VsockStream>;
    fn next(&mut self) -> Option<io::Result<VsockStream>> {
        Some(self.0.accept().map(|(stream, _)| stream))
    }
}

impl AsFd for VsockListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for VsockListener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<VsockListener> for OwnedFd {
    fn from(listener: VsockListener) -> OwnedFd {
        listener.0.into()
    }
}

impl From<OwnedFd> for VsockListener {
    fn from(socket: OwnedFd) -> VsockListener {
        VsockListener(socket.into())
    }
}
