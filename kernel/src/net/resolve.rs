//! Addresses by name, as getaddrinfo(3) finds them.
//!
//! A name is looked for in this order: numbers, `/etc/hosts`, `localhost`, the name servers. What is found
//! comes back in the order in which it is worth trying (RFC 6724, in its simple form). Nothing is kept: a
//! name server does that.

mod client;
mod hosts;
pub mod message;
pub mod name;
mod number;
mod order;
mod system;

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Family;
use crate::Error;
use name::Name;

/// Why no address was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such name, or it has no such address (`EAI_NONAME`).
    NoName,
    /// No name server has answered, or none could just then (`EAI_AGAIN`).
    Again,
    /// A name server does not want to answer (`EAI_FAIL`).
    Refused,
    /// Memory is short (`EAI_MEMORY`).
    OutOfMemory,
    /// The network failed (`EAI_SYSTEM`).
    System(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::OutOfMemory => Failure::OutOfMemory,
            error => Failure::System(error),
        }
    }
}

impl Family {
    fn has(family: Option<Family>, ip: IpAddr) -> bool {
        match family {
            None => true,
            Some(Family::V4) => ip.is_ipv4(),
            Some(Family::V6) => ip.is_ipv6(),
        }
    }
}

/// The addresses of a name, of one family or of both, with port 0. There is at least one.
///
/// # Errors
///
/// See [`Failure`].
pub fn lookup(name: &[u8], family: Option<Family>) -> Result<Vec<SocketAddr>, Failure> {
    match number::parse(name) {
        Some(address) if Family::has(family, address.ip()) => return Ok([address].into()),
        Some(_) => return Err(Failure::NoName),
        None => {}
    }
    let name = Name::new(name).ok_or(Failure::NoName)?;
    let mut found = hosts::lookup(&name, family)?;
    if found.is_empty() {
        found = if name.is_localhost() {
            let both = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
            let wanted = both.into_iter().filter(|ip| Family::has(family, *ip));
            wanted.map(|ip| (ip, 0).into()).collect()
        } else {
            let servers = system::servers()?;
            let found = client::ask(&system::Sockets, &servers, &name, family)?;
            found.into_iter().map(|ip| (ip, 0).into()).collect()
        };
    }
    order::sort(&mut found, system::source);
    Ok(found)
}

/// The address that `text` is in numbers.
///
/// # Errors
///
/// [`Failure::NoName`] when it is none, or none of the family.
pub fn numeric(text: &[u8], family: Option<Family>) -> Result<SocketAddr, Failure> {
    number::parse(text).filter(|address| Family::has(family, address.ip())).ok_or(Failure::NoName)
}

/// Whether this machine has an address from which packets to this one could go.
#[must_use]
pub fn is_configured(address: SocketAddr) -> bool {
    system::source(address).is_some()
}
