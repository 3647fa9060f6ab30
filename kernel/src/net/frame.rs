//! What a frame is for: enough of its headers to find the socket.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet,
    IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

use super::address::{Endpoint, Flow};
use crate::Error;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A TCP segment.
    Segment(Flow, Segment),
    /// A UDP datagram.
    Datagram(Flow),
    /// An answer to a packet that this machine has sent on that flow: it did not arrive.
    Undelivered(Protocol, Flow, Error),
    /// A router tells of itself.
    Advertisement,
    /// Anything else: ARP, neighbour discovery, fragments, echo.
    Other,
}

/// The protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What has to be known of a TCP segment beside its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// It asks for a connection, and acknowledges nothing.
    pub opens: bool,
    /// It ends the connection at once.
    pub resets: bool,
    /// It is the sender's last.
    pub ends: bool,
    /// The sequence number behind it.
    pub next: u32,
    /// What it acknowledges.
    pub acknowledges: u32,
}

/// Reads the headers of an Ethernet frame.
#[must_use]
pub fn of_ethernet(frame: &[u8]) -> Content {
    let Ok(frame) = EthernetFrame::new_checked(frame) else {
        return Content::Other;
    };
    match frame.ethertype() {
        EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => of_packet(frame.payload()),
        _ => Content::Other,
    }
}

/// Reads the headers of an IP packet.
#[must_use]
pub fn of_packet(packet: &[u8]) -> Content {
    let Some((protocol, source, target, payload)) = open(packet) else {
        return Content::Other;
    };
    match protocol {
        IpProtocol::Tcp => segment(source, target, payload),
        IpProtocol::Udp => match ports(payload) {
            Some((from, to)) => Content::Datagram(flow((target, to), (source, from))),
            None => Content::Other,
        },
        IpProtocol::Icmp => match Icmpv4Packet::new_checked(payload) {
            Ok(message) if message.msg_type() == Icmpv4Message::DstUnreachable => {
                undelivered(message.data(), ipv4_reason(message.msg_code()))
            }
            _ => Content::Other,
        },
        IpProtocol::Icmpv6 => match Icmpv6Packet::new_checked(payload) {
            Ok(message) if message.msg_type() == Icmpv6Message::DstUnreachable => {
                undelivered(message.payload(), ipv6_reason(message.msg_code()))
            }
            Ok(message) if message.msg_type() == Icmpv6Message::RouterAdvert => {
                Content::Advertisement
            }
            _ => Content::Other,
        },
        _ => Content::Other,
    }
}

/// The parts of an IP packet that is no fragment and has no extension headers.
fn open(packet: &[u8]) -> Option<(IpProtocol, IpAddr, IpAddr, &[u8])> {
    match packet.first()? >> 4 {
        4 => {
            let packet = Ipv4Packet::new_checked(packet).ok()?;
            if packet.more_frags() || packet.frag_offset() != 0 {
                return None;
            }
            Some((
                packet.next_header(),
                packet.src_addr().into(),
                packet.dst_addr().into(),
                packet.payload(),
            ))
        }
        6 => {
            let packet = Ipv6Packet::new_checked(packet).ok()?;
            Some((
                packet.next_header(),
                packet.src_addr().into(),
                packet.dst_addr().into(),
                packet.payload(),
            ))
        }
        _ => None,
    }
}

fn flow(local: (IpAddr, u16), remote: (IpAddr, u16)) -> Flow {
    let endpoint = |(address, port)| Endpoint { address, port };
    Flow { local: endpoint(local), remote: endpoint(remote) }
}

/// The ports, which UDP and TCP have in the same place: from, to.
fn ports(payload: &[u8]) -> Option<(u16, u16)> {
    let bytes: &[u8; 4] = payload.first_chunk()?;
    Some((u16::from_be_bytes([bytes[0], bytes[1]]), u16::from_be_bytes([bytes[2], bytes[3]])))
}

fn segment(source: IpAddr, target: IpAddr, payload: &[u8]) -> Content {
    let Ok(packet) = TcpPacket::new_checked(payload) else {
        return Content::Other;
    };
    Content::Segment(
        flow((target, packet.dst_port()), (source, packet.src_port())),
        Segment {
            opens: packet.syn() && !packet.ack() && !packet.rst(),
            resets: packet.rst(),
            ends: packet.fin(),
            next: (packet.seq_number().0 as u32).wrapping_add(packet.segment_len() as u32),
            acknowledges: packet.ack_number().0 as u32,
        },
    )
}

/// Reads what an ICMP message quotes: the start of a packet of this machine, maybe cut off.
fn undelivered(quoted: &[u8], reason: Error) -> Content {
    let Some(version) = quoted.first().map(|byte| byte >> 4) else {
        return Content::Other;
    };
    let (protocol, source, target, length): (u8, IpAddr, IpAddr, usize) = match version {
        4 if quoted.len() >= 20 => {
            let address = |at: usize| {
                Ipv4Addr::new(quoted[at], quoted[at + 1], quoted[at + 2], quoted[at + 3])
            };
            let length = usize::from(quoted[0] & 15) * 4;
            (quoted[9], address(12).into(), address(16).into(), length)
        }
        6 if quoted.len() >= 40 => {
            let address = |at: usize| {
                let bytes: [u8; 16] = quoted[at..at + 16].try_into().unwrap_or_default();
                Ipv6Addr::from(bytes)
            };
            (quoted[6], address(8).into(), address(24).into(), 40)
        }
        _ => return Content::Other,
    };
    let protocol = match IpProtocol::from(protocol) {
        IpProtocol::Tcp => Protocol::Tcp,
        IpProtocol::Udp => Protocol::Udp,
        _ => return Content::Other,
    };
    match quoted.get(length..).and_then(ports) {
        Some((from, to)) => {
            Content::Undelivered(protocol, flow((source, from), (target, to)), reason)
        }
        None => Content::Other,
    }
}

/// What the code of an ICMPv4 "destination unreachable" means (RFC 792, RFC 1812 5.2.7.1).
const fn ipv4_reason(code: u8) -> Error {
    match code {
        0 | 6 | 9 | 11 => Error::NetworkUnreachable,
        // The protocol, the port.
        2 | 3 => Error::ConnectionRefused,
        4 => Error::MessageTooLong,
        _ => Error::HostUnreachable,
    }
}

/// What the code of an ICMPv6 "destination unreachable" means (RFC 4443, 3.1).
const fn ipv6_reason(code: u8) -> Error {
    match code {
        0 => Error::NetworkUnreachable,
        1 | 5 | 6 => Error::PermissionDenied,
        4 => Error::ConnectionRefused,
        _ => Error::HostUnreachable,
    }
}

/// True when the checksum of the frame's TCP segment or UDP datagram is right, or it has none.
#[must_use]
pub fn checksum_is_right(frame: &[u8]) -> bool {
    let Ok(frame) = EthernetFrame::new_checked(frame) else {
        return true;
    };
    let Some((protocol, source, target, payload)) = open(frame.payload()) else {
        return true;
    };
    let (source, target) = (source.into(), target.into());
    match protocol {
        IpProtocol::Tcp => TcpPacket::new_checked(payload)
            .is_ok_and(|packet| packet.verify_checksum(&source, &target)),
        IpProtocol::Udp => UdpPacket::new_checked(payload)
            .is_ok_and(|packet| packet.verify_checksum(&source, &target)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SYN from 10.0.2.2:40000 to 10.0.2.15:8080.
    const SYN: [u8; 40] = [
        0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15, 0x9c, 0x40, 0x1f, 0x90,
        0, 0, 0, 9, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ];

    #[test]
    fn a_segment_is_recognised() {
        let Content::Segment(flow, segment) = of_packet(&SYN) else {
            panic!("no segment");
        };
        assert_eq!(flow.local.port, 8080);
        assert_eq!(flow.remote.address, "10.0.2.2".parse::<IpAddr>().unwrap());
        assert!(segment.opens && !segment.resets && !segment.ends);
        assert_eq!(segment.next, 10);
    }

    #[test]
    fn a_refused_datagram_finds_its_flow() {
        let mut packet = vec![0x45, 0, 0, 56, 0, 1, 0, 0, 64, 1, 0, 0];
        packet.extend([10, 0, 2, 2, 10, 0, 2, 15, 3, 3, 0, 0, 0, 0, 0, 0]);
        packet.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0]);
        packet.extend([10, 0, 2, 15, 10, 0, 2, 2, 0x80, 0, 0, 53, 0, 8, 0, 0]);
        let Content::Undelivered(Protocol::Udp, flow, Error::ConnectionRefused) =
            of_packet(&packet)
        else {
            panic!("{:?}", of_packet(&packet));
        };
        assert_eq!((flow.local.port, flow.remote.port), (0x8000, 53));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = of_packet(&bytes);
            let _ = of_ethernet(&bytes);
            let _ = checksum_is_right(&bytes);
        }

        #[test]
        fn no_changed_packet_makes_it_panic(at in 0usize..40, byte in any::<u8>(), cut in 0usize..40) {
            let mut packet = SYN;
            packet[at] = byte;
            let _ = of_packet(&packet[..cut]);
            let _ = of_packet(&packet);
        }
    }
}
