//! Name servers, and own addresses, by this kernel's sockets.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::client::{Link, Network};
use super::{Failure, Family};
use crate::debug::{Level, Line};
use crate::net::option::Setting;
use crate::net::{self, Flags, Socket};
use crate::{Error, Result, fd, random, time};

const PORT: u16 = 53;
/// Ports below are for services.
const FIRST_PORT: u16 = 1024;
/// How many ports are tried: of the others, few are in use.
const TRIES: usize = 16;

/// The name servers of this machine.
///
/// # Errors
///
/// [`Failure::Again`] when there is none, as when none answers.
pub fn servers() -> Result<Vec<IpAddr>, Failure> {
    match net::name_servers() {
        Ok(servers) if !servers.is_empty() => Ok(servers),
        // Without a card, that has been told.
        Err(Error::NetworkDown) => Err(Failure::Again),
        Ok(_) | Err(Error::NetworkUnreachable) => {
            Line::log(Level::Error, |line| {
                line.text("no name server is known: give one with dns=ADDRESS");
            });
            Err(Failure::Again)
        }
        Err(error) => Err(error.into()),
    }
}

fn family(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// The own address from which packets to `address` would go: no packet is sent.
pub fn source(address: SocketAddr) -> Option<IpAddr> {
    let object = net::udp(family(address.ip()), true).ok()?;
    let socket = object.socket()?;
    // Any port but 0 will do: the discard service's.
    let mut address = address;
    address.set_port(9);
    socket.connect(Some(address)).ok()?;
    Some(socket.local().ok()?.ip())
}

/// Sockets of this kernel.
pub struct Sockets;

/// A socket that is connected to a name server.
pub struct Connected(Arc<dyn fd::Object>);

impl Connected {
    fn socket(&self) -> Result<&dyn Socket> {
        self.0.socket().ok_or(Error::NotASocket)
    }
}

fn random_number() -> Result<u16> {
    let mut bytes = [0; 2];
    random::fill(&mut bytes)?;
    Ok(u16::from_ne_bytes(bytes))
}

/// Takes a local port that nobody can guess.
fn bind(socket: &dyn Socket, server: IpAddr) -> Result<()> {
    let any = match server {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut result = Err(Error::AddressInUse);
    for _ in 0..TRIES {
        let port = random_number()?;
        if port >= FIRST_PORT {
            result = socket.bind((any, port).into());
        }
        match result {
            Err(Error::AddressInUse) => {}
            _ => return result,
        }
    }
    result
}

/// How long is left, as a socket's time-out.
fn left(deadline: u64) -> Result<Option<u64>> {
    match deadline.saturating_sub(time::monotonic()) {
        0 => Err(Error::TimedOut),
        left => Ok(Some(left)),
    }
}

/// A time-out that is over is told as on Linux.
fn over(error: Error) -> Error {
    match error {
        Error::WouldBlock | Error::InProgress => Error::TimedOut,
        error => error,
    }
}

impl Network for Sockets {
    type Link = Connected;

    fn datagrams(&self, server: IpAddr) -> Result<Connected> {
        let link = Connected(net::udp(family(server), false)?);
        let socket = link.socket()?;
        bind(socket, server)?;
        socket.connect(Some((server, PORT).into()))?;
        Ok(link)
    }

    fn stream(&self, server: IpAddr, deadline: u64) -> Result<Connected> {
        let link = Connected(net::tcp(family(server), false)?);
        let socket = link.socket()?;
        socket.set_option(Setting::WriteTimeout(left(deadline)?))?;
        socket.connect(Some((server, PORT).into())).map_err(over)?;
        Ok(link)
    }

    fn now(&self) -> u64 {
        time::monotonic()
    }

    fn random(&self) -> Result<u16> {
        random_number()
    }
}

impl Link for Connected {
    fn send(&self, mut bytes: &[u8], deadline: u64) -> Result<()> {
        let socket = self.socket()?;
        while !bytes.is_empty() {
            socket.set_option(Setting::WriteTimeout(left(deadline)?))?;
            let length = socket.send(bytes, None, Flags::default()).map_err(over)?;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8], deadline: u64) -> Result<usize> {
        let socket = self.socket()?;
        socket.set_option(Setting::ReadTimeout(left(deadline)?))?;
        let (length, _) = socket.receive(buffer, Flags::default()).map_err(over)?;
        Ok(length)
    }
}
