//! What smoltcp does not read in the advertisement of a router: its name servers (RFC 8106).

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use smoltcp::time::Duration;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv6Packet,
};

/// The option that names name servers.
const RDNSS: u8 = 25;
/// Bytes of an advertisement before its options (RFC 4861, 4.2).
const OPTIONS: usize = 16;
/// Bytes of the option before the addresses.
const ADDRESSES: usize = 8;

/// The name servers that an Ethernet frame tells of, each with how long it may be asked, which is no time at all for
/// one that is to be forgotten. Nothing for a frame that is no valid advertisement (RFC 4861, 6.1.2).
#[must_use]
pub fn name_servers(frame: &[u8]) -> Vec<(Ipv6Addr, Duration)> {
    let mut servers = Vec::new();
    let mut options = options(frame).unwrap_or_default();
    // Type, length in units of eight bytes, and the rest.
    while let [kind, units, ..] = options {
        let Some((option, behind)) = options.split_at_checked(usize::from(*units) * 8) else {
            break;
        };
        if option.is_empty() {
            break;
        }
        options = behind;
        if *kind != RDNSS {
            continue;
        }
        let (head, addresses) = option.split_at(ADDRESSES);
        let lifetime = match head {
            [_, _, _, _, a, b, c, d] => u32::from_be_bytes([*a, *b, *c, *d]),
            _ => continue,
        };
        let lifetime = Duration::from_secs(u64::from(lifetime));
        let (addresses, _) = addresses.as_chunks::<16>();
        servers.extend(addresses.iter().map(|bytes| (Ipv6Addr::from(*bytes), lifetime)));
    }
    servers
}

/// The options of an advertisement that comes from a router of this network.
fn options(frame: &[u8]) -> Option<&[u8]> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv6 {
        return None;
    }
    let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
    let (source, target) = (packet.src_addr(), packet.dst_addr());
    let near = packet.hop_limit() == 255 && source.is_unicast_link_local();
    if !near || packet.next_header() != IpProtocol::Icmpv6 {
        return None;
    }
    let bytes = packet.payload();
    let message = Icmpv6Packet::new_checked(bytes).ok()?;
    let valid = message.msg_type() == Icmpv6Message::RouterAdvert
        && message.verify_checksum(&source, &target);
    bytes.get(OPTIONS..).filter(|_| valid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An advertisement with these options, from `fe80::1` to all nodes.
    fn frame(options: &[u8], hops: u8) -> Vec<u8> {
        let length = OPTIONS + options.len();
        let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
        frame.extend([0x60, 0, 0, 0, 0, length as u8, 58, hops]);
        let (source, target): (Ipv6Addr, Ipv6Addr) =
            ("fe80::1".parse().unwrap(), "ff02::1".parse().unwrap());
        frame.extend(source.octets());
        frame.extend(target.octets());
        let start = frame.len();
        frame.extend([134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(options);
        Icmpv6Packet::new_unchecked(&mut frame[start..]).fill_checksum(&source, &target);
        frame
    }

    fn rdnss(lifetime: u32, addresses: &[&str]) -> Vec<u8> {
        let mut option = vec![RDNSS, 1 + 2 * addresses.len() as u8, 0, 0];
        option.extend(lifetime.to_be_bytes());
        for address in addresses {
            option.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        }
        option
    }

    fn told(servers: &[(&str, u64)]) -> Vec<(Ipv6Addr, Duration)> {
        let servers = servers.iter();
        servers
            .map(|(address, seconds)| (address.parse().unwrap(), Duration::from_secs(*seconds)))
            .collect()
    }

    #[test]
    fn servers_are_found_among_other_options() {
        // The router's own address, two servers, the MTU, one server that is to be forgotten.
        let mut options = vec![1, 1, 2, 0, 0, 0, 0, 1];
        options.extend(rdnss(600, &["fd00::1", "fe80::1"]));
        options.extend([5, 1, 0, 0, 0, 0, 5, 220]);
        options.extend(rdnss(0, &["fd00::2"]));
        assert_eq!(
            name_servers(&frame(&options, 255)),
            told(&[("fd00::1", 600), ("fe80::1", 600), ("fd00::2", 0)])
        );
    }

    #[test]
    fn what_no_router_here_has_sent_is_not_believed() {
        let options = rdnss(600, &["fd00::1"]);
        assert_eq!(name_servers(&frame(&options, 64)), []);
        let mut changed = frame(&options, 255);
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(name_servers(&changed), []);
        let mut far = frame(&options, 255);
        far[22..24].copy_from_slice(&[0x20, 1]);
        assert_eq!(name_servers(&far), []);
    }

    #[test]
    fn a_broken_option_ends_the_list() {
        let mut options = rdnss(600, &["fd00::1"]);
        options.extend([RDNSS, 0, 0, 0, 0, 0, 0, 0]);
        options.extend(rdnss(600, &["fd00::2"]));
        assert_eq!(name_servers(&frame(&options, 255)), told(&[("fd00::1", 600)]));
        // Longer than the packet; without an address.
        assert_eq!(name_servers(&frame(&[RDNSS, 9, 0, 0, 0, 0, 0, 9], 255)), []);
        assert_eq!(name_servers(&frame(&[RDNSS, 1, 0, 0, 0, 0, 0, 9], 255)), []);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(options in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = name_servers(&frame(&options, 255));
            let _ = name_servers(&options);
        }
    }
}
