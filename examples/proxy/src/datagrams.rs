//! Datagrams: each client has a socket of its own towards the target, so that answers find their way back.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a client is remembered after the target's last answer.
const IDLE: Duration = Duration::from_secs(30);
/// How many are remembered; the datagrams of others are lost until there is room.
const CLIENTS: usize = 256;
/// The longest datagram.
const LONGEST: usize = 65_507;

/// The clients, and the sockets through which they reach the target.
type Clients = Arc<Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>>;

/// Hands datagrams on, both ways, until the socket fails.
pub fn serve(socket: UdpSocket, target: &str) -> io::Error {
    let socket = Arc::new(socket);
    let clients = Clients::default();
    let mut buffer = vec![0; LONGEST];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer) {
            Ok(got) => got,
            Err(error) => return error,
        };
        let sent = towards(&socket, &clients, client, target)
            .and_then(|server| server.send(&buffer[..length]));
        if let Err(error) = sent {
            eprintln!("proxy: a datagram of {client} to {target}: {error}");
        }
    }
}

/// The socket through which a client reaches the target.
fn towards(
    socket: &Arc<UdpSocket>,
    clients: &Clients,
    client: SocketAddr,
    target: &str,
) -> io::Result<Arc<UdpSocket>> {
    let mut known = clients.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = known.get(&client) {
        return Ok(server.clone());
    }
    if known.len() >= CLIENTS {
        return Err(io::Error::other("there are too many clients"));
    }
    let server = Arc::new(connect(target)?);
    server.set_read_timeout(Some(IDLE))?;
    let (back, out, forget) = (server.clone(), socket.clone(), clients.clone());
    thread::Builder::new().spawn(move || {
        let mut buffer = vec![0; LONGEST];
        while let Ok(length) = back.recv(&mut buffer) {
            // A client that is gone does not answer for the others.
            let _ = out.send_to(&buffer[..length], client);
        }
        let mut known = forget.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&client);
    })?;
    known.insert(client, server.clone());
    Ok(server)
}

/// A socket that speaks with the target alone.
fn connect(target: &str) -> io::Result<UdpSocket> {
    let mut last = io::Error::other("the target has no address");
    for address in target.to_socket_addrs()? {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
