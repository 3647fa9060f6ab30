//! Addresses as std and as smoltcp have them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use smoltcp::wire::IpEndpoint;

use super::Family;
use crate::{Error, Result};

/// One side of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address: IPv4 in its own form, never mapped into IPv6.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// The same port of this machine, for who says every address and means that.
    pub const fn or_this_machine(mut self) -> Endpoint {
        if self.address.is_unspecified() {
            self.address = loopback(self.address);
        }
        self
    }

    /// As smoltcp has it.
    pub fn wire(self) -> IpEndpoint {
        IpEndpoint { addr: self.address.into(), port: self.port }
    }

    /// From how smoltcp has it.
    pub fn of_wire(endpoint: IpEndpoint) -> Endpoint {
        Endpoint { address: endpoint.addr.into(), port: endpoint.port }
    }
}

/// Both sides of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// This machine's.
    pub local: Endpoint,
    /// The other's.
    pub remote: Endpoint,
}

impl Flow {
    /// As the other side sees it.
    #[must_use]
    pub const fn reversed(&self) -> Flow {
        Flow { local: self.remote, remote: self.local }
    }
}

/// The unspecified address of a family.
#[must_use]
pub const fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// This machine's address of the same family.
#[must_use]
pub const fn loopback(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// What a program says, as the stack has it: IPv4 inside IPv6 is IPv4. With the number of the interface that a
/// link-local address belongs to, or 0.
///
/// # Errors
///
/// [`Error::FamilyNotSupported`] when a socket for one family is given an address of the other;
/// [`Error::NetworkUnreachable`] when a socket for IPv6 alone is given one of IPv4.
pub fn take(address: SocketAddr, family: Family, v6_only: bool) -> Result<(Endpoint, u32)> {
    let scope = match address {
        SocketAddr::V6(address) => address.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let canonical = match (address.ip(), family) {
        (IpAddr::V4(address), Family::V4) => IpAddr::V4(address),
        (IpAddr::V6(address), Family::V6) => match address.to_ipv4_mapped() {
            Some(_) if v6_only => return Err(Error::NetworkUnreachable),
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(address),
        },
        _ => return Err(Error::FamilyNotSupported),
    };
    let endpoint = Endpoint { address: canonical, port: address.port() };
    Ok((endpoint, scope))
}

/// What the stack has, as a socket of this family shows it; `scope` is the number of the interface.
#[must_use]
pub fn show(endpoint: Endpoint, family: Family, scope: u32) -> SocketAddr {
    match (endpoint.address, family) {
        (IpAddr::V4(address), Family::V6) => {
            let mapped = if address.is_unspecified() {
                Ipv6Addr::UNSPECIFIED
            } else {
                address.to_ipv6_mapped()
            };
            SocketAddr::from((mapped, endpoint.port))
        }
        (IpAddr::V6(address), _) if address.is_unicast_link_local() => {
            SocketAddrV6::new(address, endpoint.port, 0, scope).into()
        }
        (address, _) => SocketAddr::new(address, endpoint.port),
    }
}

/// True when both may be meant by one packet: equal, or one of them is every address.
#[must_use]
pub fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_inside_ipv6_is_ipv4() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:80".parse().unwrap();
        let (endpoint, _) = take(mapped, Family::V6, false).unwrap();
        assert_eq!(endpoint.address, "10.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(show(endpoint, Family::V6, 0), mapped);
        assert_eq!(take(mapped, Family::V6, true), Err(Error::NetworkUnreachable));
    }

    #[test]
    fn families_are_kept_apart() {
        let address: SocketAddr = "10.0.0.1:80".parse().unwrap();
        assert_eq!(take(address, Family::V6, false), Err(Error::FamilyNotSupported));
        assert!(take(address, Family::V4, false).is_ok());
    }

    #[test]
    fn scopes_are_shown_where_they_mean_something() {
        let local: SocketAddr = "[fe80::1%3]:80".parse().unwrap();
        let (endpoint, scope) = take(local, Family::V6, false).unwrap();
        assert_eq!(scope, 3);
        assert_eq!(show(endpoint, Family::V6, scope), local);
    }
}
