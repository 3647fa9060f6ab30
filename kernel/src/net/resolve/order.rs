//! The order in which addresses are worth trying (RFC 6724, section 6).
//!
//! The rules for addresses without a source (1), for scopes (2, 8), labels (5) and precedence (6). The others
//! need what this machine does not have (home addresses, deprecated ones, tunnels), or undo the order that a
//! name server has chosen (9).

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Sorts addresses, the best first; equally good ones stay as they are. `source` is the own address from which
/// packets to one would go.
pub fn sort(addresses: &mut [SocketAddr], source: impl Fn(SocketAddr) -> Option<IpAddr>) {
    if addresses.len() < 2 {
        return;
    }
    addresses.sort_by_cached_key(|address| {
        let to = mapped(address.ip());
        let (precedence, label) = policy(to);
        let from = source(*address).map(mapped);
        let is = |rule: fn(Ipv6Addr) -> u8, value| from.is_some_and(|from| rule(from) == value);
        // `false` comes first.
        (
            from.is_none(),
            !is(scope, scope(to)),
            !is(|from| policy(from).1, label),
            Reverse(precedence),
            scope(to),
        )
    });
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// How far an address reaches (section 3.1 and 3.2).
fn scope(ip: Ipv6Addr) -> u8 {
    const LINK: u8 = 2;
    const SITE: u8 = 5;
    const GLOBAL: u8 = 14;
    if let Some(ip) = ip.to_ipv4_mapped() {
        return if ip.is_loopback() || ip.is_link_local() { LINK } else { GLOBAL };
    }
    let first = ip.segments()[0];
    if ip.is_multicast() {
        (first & 15) as u8
    } else if ip.is_loopback() || first & 0xffc0 == 0xfe80 {
        LINK
    } else if first & 0xffc0 == 0xfec0 {
        SITE
    } else {
        GLOBAL
    }
}

/// Precedence and label, by the default policy table (section 2.1).
fn policy(ip: Ipv6Addr) -> (u8, u8) {
    let first = ip.segments()[0];
    if ip.is_loopback() {
        (50, 0)
    } else if ip.to_ipv4_mapped().is_some() {
        (35, 4)
    } else if first == 0x2002 {
        (30, 2)
    } else if first == 0x2001 && ip.segments()[1] == 0 {
        (5, 5)
    } else if first & 0xfe00 == 0xfc00 {
        (3, 13)
    } else if first & 0xffc0 == 0xfec0 {
        (1, 11)
    } else if first == 0x3ffe {
        (1, 12)
    } else if ip.segments()[..6] == [0; 6] {
        (1, 3)
    } else {
        (40, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn sorted(addresses: &[&str], own: &[&str]) -> Vec<alloc::string::String> {
        let ips = addresses.iter().map(|ip| ip.parse::<IpAddr>().unwrap());
        let mut addresses: Vec<SocketAddr> = ips.map(|ip| (ip, 0).into()).collect();
        sort(&mut addresses, |to| {
            let own = own.iter().map(|ip| ip.parse::<IpAddr>().unwrap());
            let mut fitting = own.filter(|ip| ip.is_ipv4() == to.is_ipv4());
            fitting.find(|ip| ip.is_loopback() == to.ip().is_loopback())
        });
        let ips = addresses.iter().map(|address| address.ip().to_string());
        ips.collect()
    }

    #[test]
    fn a_family_without_an_own_address_comes_last() {
        let both = ["2001:db8::1", "192.0.2.1"];
        assert_eq!(sorted(&both, &["10.0.2.15"]), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(sorted(&both, &["2001:db8::9"]), both);
    }

    #[test]
    fn with_both_families_ipv6_comes_first() {
        let own = ["10.0.2.15", "2001:db8::9"];
        assert_eq!(sorted(&["192.0.2.1", "2001:db8::1"], &own), ["2001:db8::1", "192.0.2.1"]);
    }

    #[test]
    fn a_link_local_address_of_one_s_own_reaches_no_further() {
        let own = ["10.0.2.15", "fe80::9"];
        assert_eq!(sorted(&["2001:db8::1", "192.0.2.1"], &own), ["192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn localhost_is_ipv6_first() {
        let own = ["127.0.0.1", "::1"];
        assert_eq!(sorted(&["127.0.0.1", "::1"], &own), ["::1", "127.0.0.1"]);
    }

    #[test]
    fn the_servers_order_stays() {
        let many = ["192.0.2.3", "192.0.2.1", "192.0.2.2"];
        assert_eq!(sorted(&many, &["10.0.2.15"]), many);
    }
}
