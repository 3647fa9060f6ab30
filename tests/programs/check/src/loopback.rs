//! Sockets of this machine with itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

/// This machine, by both families.
pub const BOTH: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// A listener, and where.
///
/// # Errors
///
/// Those of the socket.
pub fn listen(ip: IpAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((ip, 0))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Both ends of a connection: the one that has connected first.
///
/// # Errors
///
/// Those of the sockets.
pub fn pair(ip: IpAddr) -> io::Result<(TcpStream, TcpStream)> {
    let (listener, address) = listen(ip)?;
    let client = TcpStream::connect(address)?;
    let (server, _) = listener.accept()?;
    Ok((client, server))
}
