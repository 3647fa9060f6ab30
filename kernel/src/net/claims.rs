//! Which socket has which port.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::address::{Flow, overlap};
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
    /// Others who say so too may claim the same (`SO_REUSEADDR` of datagrams).
    pub shared: bool,
    /// Others who say so too may claim the same, and what comes is spread over them (`SO_REUSEPORT`).
    pub spread: bool,
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
        if self.shared && other.shared || self.spread && other.spread {
            return false;
        }
        match (self.address.is_ipv4(), other.address.is_ipv4()) {
            (true, true) | (false, false) => overlap(self.address, other.address),
            (true, false) => other.both && other.address.is_unspecified(),
            (false, true) => self.both && self.address.is_unspecified(),
        }
    }
}

/// All claims, those of one port beside each other.
#[derive(Debug, Default)]
pub struct Claims(Vec<(Key, Claim)>);

/// A protocol's port.
type Key = (Protocol, u16);

impl Claims {
    /// Those of a port.
    fn of(&self, key: Key) -> &[(Key, Claim)] {
        let start = self.0.partition_point(|(other, _)| *other < key);
        let count = self.0[start..].iter().take_while(|(other, _)| *other == key).count();
        &self.0[start..start + count]
    }

    /// Claims a port, or any for 0; gives it.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`].
    pub fn add(&mut self, protocol: Protocol, port: u16, claim: Claim) -> Result<u16> {
        let port = match port {
            0 => {
                ephemeral().find(|port| self.is_free(protocol, *port)).ok_or(Error::AddressInUse)?
            }
            port => port,
        };
        let key = (protocol, port);
        if self.of(key).iter().any(|(_, other)| other.conflicts(&claim)) {
            return Err(Error::AddressInUse);
        }
        let place = self.0.partition_point(|(other, _)| *other <= key);
        self.0.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        self.0.insert(place, (key, claim));
        Ok(port)
    }

    /// Gives a socket's claim up.
    pub fn remove(&mut self, protocol: Protocol, port: u16, id: usize) {
        self.0.retain(|(key, claim)| *key != (protocol, port) || claim.id != id);
    }

    /// True when nobody claims the port.
    #[must_use]
    pub fn is_free(&self, protocol: Protocol, port: u16) -> bool {
        self.of((protocol, port)).is_empty()
    }

    /// The socket that a packet on `flow` is for, of those that `wants` it: rather one with exactly this address. Of
    /// sockets that share it, the packets of one flow are always for the same.
    pub fn find(
        &self,
        protocol: Protocol,
        flow: &Flow,
        wants: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        let target = flow.local;
        let claims = self.of((protocol, target.port));
        let fits = |claim: &Claim| claim.covers(target.address) && wants(claim.id);
        let mut found: Option<&Claim> = None;
        for (_, claim) in claims {
            if fits(claim) {
                found = Some(claim);
                if claim.address == target.address {
                    break;
                }
            }
        }
        let found = found?;
        if !found.spread {
            return Some(found.id);
        }
        let is_alike =
            |claim: &Claim| claim.spread && claim.address == found.address && fits(claim);
        let mut count = 0;
        for (_, claim) in claims {
            count += usize::from(is_alike(claim));
        }
        // Clients may choose every second port: a hash (Knuth, multiplicative) makes all of its bits count.
        let hash = u32::from(flow.remote.port).wrapping_mul(0x9e37_79b1) >> 16;
        let mut before = hash as usize % usize::max(count, 1);
        for (_, claim) in claims {
            if is_alike(claim) {
                if before == 0 {
                    return Some(claim.id);
                }
                before -= 1;
            }
        }
        None
    }

    /// All sockets that have the port.
    pub fn all(&self, protocol: Protocol, port: u16) -> impl Iterator<Item = usize> {
        self.of((protocol, port)).iter().map(|(_, claim)| claim.id)
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
    use crate::net::address::Endpoint;

    fn claim(address: &str, both: bool, id: usize) -> Claim {
        Claim { address: address.parse().unwrap(), both, shared: false, spread: false, id }
    }

    /// A flow to `address` from a client's `port`.
    fn from(port: u16, address: &str) -> Flow {
        let address: IpAddr = address.parse().unwrap();
        Flow { local: Endpoint { address, port: 80 }, remote: Endpoint { address, port } }
    }

    #[test]
    fn every_address_conflicts_with_each() {
        let mut claims = Claims::default();
        assert_eq!(claims.add(Protocol::Tcp, 80, claim("127.0.0.1", false, 1)), Ok(80));
        let all = claim("0.0.0.0", false, 2);
        assert_eq!(claims.add(Protocol::Tcp, 80, all), Err(Error::AddressInUse));
        assert_eq!(claims.add(Protocol::Tcp, 80, claim("127.0.0.2", false, 2)), Ok(80));
        assert_eq!(claims.add(Protocol::Udp, 80, claim("0.0.0.0", false, 3)), Ok(80));
        assert_eq!(claims.add(Protocol::Tcp, 80, claim("::", true, 4)), Err(Error::AddressInUse));
        assert_eq!(claims.add(Protocol::Tcp, 80, claim("::", false, 4)), Ok(80));
    }

    #[test]
    fn the_exact_address_comes_first() {
        let mut claims = Claims::default();
        let shared = |mut claim: Claim| {
            claim.shared = true;
            claim
        };
        claims.add(Protocol::Udp, 80, shared(claim("::", true, 1))).unwrap();
        claims.add(Protocol::Udp, 80, shared(claim("10.0.0.1", false, 2))).unwrap();
        let find =
            |claims: &Claims, address| claims.find(Protocol::Udp, &from(9, address), &|_| true);
        assert_eq!(find(&claims, "10.0.0.1"), Some(2));
        assert_eq!(find(&claims, "10.0.0.2"), Some(1));
        let other = claims.find(Protocol::Udp, &from(9, "10.0.0.1"), &|id| id != 2);
        assert_eq!(other, Some(1));
        claims.remove(Protocol::Udp, 80, 1);
        assert_eq!(find(&claims, "::5"), None);
        claims.remove(Protocol::Udp, 80, 2);
        assert!(claims.is_free(Protocol::Udp, 80));
    }

    #[test]
    fn who_shares_a_port_gets_a_share() {
        let mut claims = Claims::default();
        let spread = |id| Claim { spread: true, ..claim("0.0.0.0", false, id) };
        for id in 0..3 {
            assert_eq!(claims.add(Protocol::Tcp, 80, spread(id)), Ok(80));
        }
        let alone = claim("0.0.0.0", false, 3);
        assert_eq!(claims.add(Protocol::Tcp, 80, alone), Err(Error::AddressInUse));
        let find = |port| claims.find(Protocol::Tcp, &from(port, "10.0.0.1"), &|_| true);
        let mut counts = [0; 3];
        for port in (40_000..40_600).step_by(2) {
            let id = find(port).unwrap();
            assert_eq!(find(port), Some(id), "always the same");
            counts[id] += 1;
        }
        assert!(counts.iter().all(|count| *count >= 50), "{counts:?}");
        let two = claims.find(Protocol::Tcp, &from(40_000, "10.0.0.1"), &|id| id == 1);
        assert_eq!(two, Some(1));
    }

    #[test]
    fn any_port_is_one_that_nobody_has() {
        let mut claims = Claims::default();
        let mut ports: Vec<_> = (0..100)
            .map(|id| claims.add(Protocol::Tcp, 0, claim("0.0.0.0", false, id)).unwrap())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 100);
        assert!(ports.iter().all(|port| EPHEMERAL.contains(port)));
    }
}
