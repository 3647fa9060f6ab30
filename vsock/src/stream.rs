//! Connections.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::{VsockAddr, sys};

/// A connection: bytes in both directions, in order.
///
/// What does not depend on the family of the socket is done by std's own stream.
#[derive(Debug)]
pub struct VsockStream(TcpStream);

impl VsockStream {
    /// Connects; waits until the other side has answered, two seconds at most.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` (from Linux `ConnectionReset`) when nobody listens there; `TimedOut`; the system's,
    /// without a device for such sockets.
    pub fn connect(address: VsockAddr) -> io::Result<VsockStream> {
        let socket = sys::socket()?;
        sys::connect(socket.as_fd(), address)?;
        Ok(socket.into())
    }

    /// Where this end is.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<VsockAddr> {
        sys::local(self.as_fd())
    }

    /// Where the other end is.
    ///
    /// # Errors
    ///
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<VsockAddr> {
        sys::peer(self.as_fd())
    }

    /// Shuts one half, or both: the other side reads the end, or can write no more.
    ///
    /// # Errors
    ///
    /// `NotConnected`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// Another one for the same connection.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn try_clone(&self) -> io::Result<VsockStream> {
        self.0.try_clone().map(VsockStream)
    }

    /// How long a read waits; `None` is without end.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a time of zero.
    pub fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(time)
    }

    /// How long a write waits; `None` is without end.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a time of zero.
    pub fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(time)
    }

    /// How long a read waits.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.0.read_timeout()
    }

    /// How long a write waits.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.0.write_timeout()
    }

    /// Chooses whether calls wait.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }

    /// Reads what stays to be read.
    ///
    /// # Errors
    ///
    /// As for `read`.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.peek(buffer)
    }

    /// The error that the connection has met, which is taken away by this.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }
}

impl Read for VsockStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(buffers)
    }
}

impl Write for VsockStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for &VsockStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Write for &VsockStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for VsockStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for VsockStream {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<VsockStream> for OwnedFd {
    fn from(stream: VsockStream) -> OwnedFd {
        stream.0.into()
    }
}

impl From<OwnedFd> for VsockStream {
    fn from(socket: OwnedFd) -> VsockStream {
        VsockStream(socket.into())
    }
}
