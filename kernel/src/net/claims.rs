//! Which socket has which port.

use alloc::vec::Vec;
use core::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::address::{Endpoint, overlap};
use super::frame::Protocol;
use crate::{Error, Result, random};

/// Ports that are given to those who do not choose, as on Linux.
const EPHEMERAL: core::ops::Range<u16> = 32768..61000;

/// A socket's claim to a port.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The address it is for, or the unspecified one of its family.
    pub address: IpAddr,
    /// An IPv6 socket that takes what comes over IPv4 too.
    pub both: bool,
    /// Others who say so too may claim the same.
    pub shared: bool,
    /// The socket.
    pub id: usize,
}

impl Claim {
    /// True when it is for packets to `target`.
    fn covers(&self, target: IpAddr) -> bool {
        match (self.address, target) {
            (IpAddr::V6(own), IpAddr::V4(_)) => self.both && own.is_unspecified(),
            (own, target) => {
                own == target || own.is_unspecified() && own.is_ipv4() == target.is_ipv4()
            }
        }
    }

    /// True when both cannot be.
    fn conflicts(&self, other: &Claim) -> bool {
        if self.shared && other.shared {
            return false;
        }
        match (self.address.is_ipv4(), other.address.is_ipv4()) {
            (true, true) | (false, false) => overlap(self.address, other.address),
            (true, false) => other.both && other.address.is_unspecified(),
            (false, true) => self.both && self.address.is_unspecified(),
        }
    }
}

/// All claims.
#[derive(Debug)]
pub struct Claims {
    ports: HashMap<(u8, u16), Vec<Claim>, FixedState>,
}

fn key(protocol: Protocol, port: u16) -> (u8, u16) {
    (protocol as u8, port)
}

impl Claims {
    /// None.
    #[must_use]
    pub fn new(seed: u64) -> Claims {
        Claims {
            ports: HashMap::with_hasher(FixedState::with_seed(seed)),
        }
    }

    /// Claims a port, or any for 0; gives it.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`].
    pub fn add(&mut self, protocol: Protocol, port: u16, claim: Claim) -> Result<u16> {
        if port != 0 {
            let others = self.ports.entry(key(protocol, port)).or_default();
            if others.iter().any(|other| other.conflicts(&claim)) {
                return Err(Error::AddressInUse);
            }
            others.push(claim);
            return Ok(port);
        }
        let free = ephemeral()
            .find(|port| !self.ports.contains_key(&key(protocol, *port)))
            .ok_or(Error::AddressInUse)?;
        self.ports.insert(key(protocol, free), [claim].into());
        Ok(free)
    }

    /// Gives a socket's claim up.
    pub fn remove(&mut self, protocol: Protocol, port: u16, id: usize) {
        let key = key(protocol, port);
        if let Some(claims) = self.ports.get_mut(&key) {
            claims.retain(|claim| claim.id != id);
            if claims.is_empty() {
                self.ports.remove(&key);
            }
        }
    }

    /// True when nobody claims the port.
    #[must_use]
    pub fn is_free(&self, protocol: Protocol, port: u16) -> bool {
        !self.ports.contains_key(&key(protocol, port))
    }

    /// The sockets that a packet may be for, those with exactly this address first.
    pub fn find(&self, protocol: Protocol, target: Endpoint) -> impl Iterator<Item = usize> {
        let claims = self
            .ports
            .get(&key(protocol, target.port))
            .map_or(&[][..], Vec::as_slice);
        let exact = move |claim: &&Claim| claim.address == target.address;
        let covers =
            move |claim: &&Claim| claim.address != target.address && claim.covers(target.address);
        claims
            .iter()
            .filter(exact)
            .chain(claims.iter().filter(covers))
            .map(|claim| claim.id)
    }

    /// All sockets that have the port.
    pub fn all(&self, protocol: Protocol, port: u16) -> impl Iterator<Item = usize> {
        self.ports
            .get(&key(protocol, port))
            .into_iter()
            .flatten()
            .map(|claim| claim.id)
    }
}

/// The ports for those who do not choose, from a random one on.
pub fn ephemeral() -> impl Iterator<Item = u16> {
    let mut bytes = [0; 2];
    let count = EPHEMERAL.len();
    // Without random numbers, they are handed out from the first on.
    let start = random::fill(&mut bytes).map_or(0, |()| usize::from(u16::from_ne_bytes(bytes)));
    (0..count).map(move |step| EPHEMERAL.start + ((start + step) % count) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(address: &str, both: bool, id: usize) -> Claim {
        Claim {
            address: address.parse().unwrap(),
            both,
            shared: false,
            id,
        }
    }

    fn at(address: &str, port: u16) -> Endpoint {
        Endpoint {
            address: address.parse().unwrap(),
            port,
        }
    }

    #[test]
    fn every_address_conflicts_with_each() {
        let mut claims = Claims::new(1);
        assert_eq!(
            claims.add(Protocol::Tcp, 80, claim("127.0.0.1", false, 1)),
            Ok(80)
        );
        let all = claim("0.0.0.0", false, 2);
        assert_eq!(claims.add(Protocol::Tcp, 80, all), Err(Error::AddressInUse));
        assert_eq!(
            claims.add(Protocol::Tcp, 80, claim("127.0.0.2", false, 2)),
            Ok(80)
        );
        assert_eq!(
            claims.add(Protocol::Udp, 80, claim("0.0.0.0", false, 3)),
            Ok(80)
        );
        assert_eq!(
            claims.add(Protocol::Tcp, 80, claim("::", true, 4)),
            Err(Error::AddressInUse)
        );
        assert_eq!(claims.add(Protocol::Tcp, 80, claim("::", false, 4)), Ok(80));
    }

    #[test]
    fn the_exact_address_comes_first() {
        let mut claims = Claims::new(1);
        claims.add(Protocol::Tcp, 80, claim("::", true, 1)).unwrap();
        claims
            .add(Protocol::Tcp, 80, claim("::1", false, 2))
            .unwrap_err();
        let mut claims = Claims::new(1);
        let shared = |mut claim: Claim| {
            claim.shared = true;
            claim
        };
        claims
            .add(Protocol::Udp, 80, shared(claim("::", true, 1)))
            .unwrap();
        claims
            .add(Protocol::Udp, 80, shared(claim("10.0.0.1", false, 2)))
            .unwrap();
        let found: Vec<_> = claims.find(Protocol::Udp, at("10.0.0.1", 80)).collect();
        assert_eq!(found, [2, 1]);
        let found: Vec<_> = claims.find(Protocol::Udp, at("10.0.0.2", 80)).collect();
        assert_eq!(found, [1]);
        claims.remove(Protocol::Udp, 80, 1);
        assert_eq!(claims.find(Protocol::Udp, at("::5", 80)).count(), 0);
        claims.remove(Protocol::Udp, 80, 2);
        assert!(claims.is_free(Protocol::Udp, 80));
    }

    #[test]
    fn any_port_is_one_that_nobody_has() {
        let mut claims = Claims::new(1);
        let mut ports: Vec<_> = (0..100)
            .map(|id| {
                claims
                    .add(Protocol::Tcp, 0, claim("0.0.0.0", false, id))
                    .unwrap()
            })
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 100);
        assert!(ports.iter().all(|port| EPHEMERAL.contains(port)));
    }
}
