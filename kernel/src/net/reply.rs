//! Packets that the stack makes itself.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};

use super::address::Flow;
use super::closed::Last;
use super::port::{ETHERNET_HEADER, Exit, capabilities};

/// Acknowledges everything once more to the other side of a connection that is over, whose frame has come by `exit`.
pub fn acknowledge(exit: &mut Exit, frame: &[u8], flow: &Flow, last: Last) {
    let segment = TcpRepr {
        src_port: flow.local.port,
        dst_port: flow.remote.port,
        control: TcpControl::None,
        seq_number: TcpSeqNumber(last.sent as i32),
        ack_number: Some(TcpSeqNumber(last.received as i32)),
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let packet = IpRepr::new(
        flow.local.address.into(),
        flow.remote.address.into(),
        IpProtocol::Tcp,
        segment.buffer_len(),
        64,
    );
    let checksums = capabilities(exit).checksum;
    let length = packet.header_len() + segment.buffer_len();
    match exit {
        Exit::Loopback(queue) => {
            let mut bytes = alloc::vec![0; length];
            emit(&packet, &segment, &checksums, &mut bytes);
            queue.push_back(bytes);
        }
        Exit::Card(outlet) => {
            let card = outlet.transmitter();
            let Ok(received) = EthernetFrame::new_checked(frame) else {
                return;
            };
            // One that is lost is asked for again.
            if !card.can_transmit() {
                return;
            }
            card.transmit(ETHERNET_HEADER + length, None, |bytes| {
                let mut answer = EthernetFrame::new_unchecked(bytes);
                answer.set_src_addr(received.dst_addr());
                answer.set_dst_addr(received.src_addr());
                answer.set_ethertype(match packet {
                    IpRepr::Ipv4(_) => EthernetProtocol::Ipv4,
                    IpRepr::Ipv6(_) => EthernetProtocol::Ipv6,
                });
                emit(&packet, &segment, &checksums, answer.payload_mut());
            });
        }
    }
}

fn emit(
    packet: &IpRepr,
    segment: &TcpRepr<'_>,
    checksums: &ChecksumCapabilities,
    bytes: &mut [u8],
) {
    packet.emit(&mut *bytes, checksums);
    segment.emit(
        &mut TcpPacket::new_unchecked(&mut bytes[packet.header_len()..]),
        &packet.src_addr(),
        &packet.dst_addr(),
        checksums,
    );
}
