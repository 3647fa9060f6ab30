//! Made-up Ethernet frames: connections that nobody wants, and what a broken or hostile peer sends.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use etherparse::{IpNumber, PacketBuilder, TcpOptionElement};

use super::random::Random;

/// A hardware address.
type Mac = [u8; 6];

/// The two ends of a made-up conversation.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The sender's hardware address.
    pub from_mac: Mac,
    /// The machine's hardware address.
    pub to_mac: Mac,
    /// The sender.
    pub from: Ipv4Addr,
    /// The machine.
    pub to: Ipv4Addr,
    /// The machine's port.
    pub port: u16,
}

/// A first segment of a connection.
pub fn syn(ends: &Ends, port: u16, sequence: u32) -> Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(66);
    PacketBuilder::ethernet2(ends.from_mac, ends.to_mac)
        .ipv4(ends.from.octets(), ends.to.octets(), 64)
        .tcp(port, ends.port, sequence, 64_240)
        .syn()
        .options(&[TcpOptionElement::MaximumSegmentSize(1460)])
        .context("a segment's options are too long")?
        .write(&mut frame, &[])?;
    Ok(frame)
}

/// Makes frames that are right, and frames that are nearly so.
pub struct Frames {
    ends: Ends,
    random: Random,
}

impl Frames {
    /// A source of frames that follow from a seed.
    pub fn new(ends: Ends, seed: u64) -> Frames {
        Frames { ends, random: Random::new(seed) }
    }

    /// The next frame: a right one with changes, a right one, or nothing but random bytes.
    pub fn frame(&mut self) -> Result<Vec<u8>> {
        match self.random.below(16) {
            0 => Ok(self.noise()),
            1 => self.right(),
            _ => {
                let mut frame = self.right()?;
                self.mutate(&mut frame);
                // Without, hardly anything would get past the first check.
                if self.random.chance(0.75) {
                    mend(&mut frame);
                }
                Ok(frame)
            }
        }
    }

    fn noise(&mut self) -> Vec<u8> {
        let mut frame = vec![0; 14 + self.random.below(1500)];
        self.random.fill(&mut frame);
        frame[..6].copy_from_slice(&self.ends.to_mac);
        let kinds = [[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06], [0x81, 0x00]];
        if let Some(kind) = kinds.get(self.random.below(6)) {
            frame[12..14].copy_from_slice(kind);
        }
        frame
    }

    fn mutate(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..=self.random.below(4) {
            // The addresses stay, so that the machine takes the frame.
            let at = 12 + self.random.below(frame.len().saturating_sub(12).max(1));
            match self.random.below(6) {
                0 => frame.truncate(at),
                1 => {
                    let more = frame.len() + self.random.below(200);
                    frame.resize(more, 0x5a);
                }
                2 | 3 => {
                    if let Some(byte) = frame.get_mut(at) {
                        *byte ^= 1 << self.random.below(8);
                    }
                }
                4 => {
                    if let Some(byte) = frame.get_mut(at) {
                        let values = [0, 1, 0x7f, 0x80, 0xff];
                        *byte = values[self.random.below(values.len())];
                    }
                }
                // Lengths, offsets and flags are in the headers.
                _ => {
                    if let Some(byte) = frame.get_mut(14 + self.random.below(40)) {
                        *byte = self.random.number() as u8;
                    }
                }
            }
            if frame.len() < 14 {
                frame.resize(14, 0);
            }
        }
    }

    /// A frame as a peer may send it.
    fn right(&mut self) -> Result<Vec<u8>> {
        let Ends { from_mac, to_mac, from, to, port } = self.ends;
        let mut payload = vec![0; self.random.below(600)];
        self.random.fill(&mut payload);
        let (own, sequence) =
            (1024 + self.random.below(60_000) as u16, self.random.number() as u32);
        let ethernet = PacketBuilder::ethernet2(from_mac, to_mac);
        let mut v6 = [[0_u8; 16]; 2];
        for (address, last) in v6.iter_mut().zip([1, 2]) {
            (address[0], address[15]) = (0xfd, last);
        }
        let mut frame = Vec::with_capacity(700);
        let window = self.random.number() as u16;
        match self.random.below(12) {
            0 => return syn(&self.ends, own, sequence),
            kind @ 1..=4 => {
                let tcp = ethernet
                    .ipv4(from.octets(), to.octets(), 64)
                    .tcp(own, port, sequence, window)
                    .ack(self.random.number() as u32);
                let tcp = match kind {
                    1 => tcp.fin(),
                    2 => tcp.rst(),
                    3 => tcp.urg(7).psh(),
                    _ => tcp.psh(),
                };
                tcp.write(&mut frame, &payload)?;
            }
            5 => {
                let ports = [port, 68, 53, 5353, own];
                let to_port = ports[self.random.below(ports.len())];
                ethernet
                    .ipv4(from.octets(), to.octets(), 64)
                    .udp(67, to_port)
                    .write(&mut frame, &payload)?;
            }
            6 => ethernet
                .ipv4(from.octets(), to.octets(), 64)
                .icmpv4_echo_request(own, window)
                .write(&mut frame, &payload)?,
            7 => ethernet
                .ipv4(from.octets(), to.octets(), 64)
                .icmpv4_raw(3, self.random.below(16) as u8, [0, 0, 5, 0xdc])
                .write(&mut frame, &payload)?,
            8 => ethernet
                .ipv6(v6[0], v6[1], 64)
                .tcp(own, port, sequence, window)
                .syn()
                .write(&mut frame, &[])?,
            // Neighbour discovery and router advertisements (RFC 4861), with options of any kind.
            9 => ethernet
                .ipv6(v6[0], v6[1], 255)
                .icmpv6_raw(133 + self.random.below(5) as u8, 0, [64, 0, 7, 8])
                .write(&mut frame, &payload)?,
            // A piece of a datagram whose others never come.
            10 => {
                let any = IpNumber(self.random.number() as u8);
                ethernet.ipv4(from.octets(), to.octets(), 64).write(&mut frame, any, &payload)?;
                frame[20..22].copy_from_slice(&[0x20 | window as u8 & 0x1f, (window >> 8) as u8]);
                mend(&mut frame);
            }
            _ => {
                let operation = 1 + self.random.below(3) as u8;
                frame.extend([to_mac, from_mac].concat());
                frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
                frame.extend(from_mac);
                frame.extend(from.octets());
                frame.extend(to_mac);
                frame.extend(to.octets());
            }
        }
        Ok(frame)
    }
}

/// The sum of 16-bit words of RFC 1071.
fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    bytes.chunks(2).map(word).sum()
}

fn folded(mut sum: u32) -> [u8; 2] {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Makes a frame's checksums right, as far as its headers can be made out.
pub fn mend(frame: &mut [u8]) {
    let Some((header, packet)) = frame.split_at_mut_checked(14) else {
        return;
    };
    let (protocol, start, addresses) = match (header[12], header[13]) {
        (8, 0) if packet.len() >= 20 => {
            let start = usize::from(packet[0] & 15) * 4;
            if !(20..=packet.len()).contains(&start) {
                return;
            }
            packet[10..12].fill(0);
            let checksum = folded(sum(&packet[..start]));
            packet[10..12].copy_from_slice(&checksum);
            (packet[9], start, 12..20)
        }
        (0x86, 0xdd) if packet.len() >= 40 => (packet[6], 40, 8..40),
        _ => return,
    };
    let pseudo = sum(&packet[addresses]);
    let payload = &mut packet[start..];
    let (place, with_addresses) = match protocol {
        6 => (16, true),
        17 => (6, true),
        1 => (2, false),
        58 => (2, true),
        _ => return,
    };
    if payload.len() < place + 2 {
        return;
    }
    payload[place..place + 2].fill(0);
    let mut total = sum(payload);
    if with_addresses {
        total += pseudo + u32::from(protocol) + payload.len() as u32;
    }
    payload[place..place + 2].copy_from_slice(&folded(total));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        Ends {
            from_mac: [2, 0, 0, 0, 0, 1],
            to_mac: [2, 0, 0, 0, 0, 2],
            from: Ipv4Addr::new(10, 0, 0, 1),
            to: Ipv4Addr::new(10, 0, 0, 2),
            port: 8080,
        }
    }

    #[test]
    fn a_right_frame_is_mended_to_itself() -> Result<()> {
        let right = syn(&ends(), 4000, 12345)?;
        let mut broken = right.clone();
        broken[24] ^= 0xff;
        broken[50] ^= 0xff;
        assert_ne!(right, broken);
        mend(&mut broken);
        assert_eq!(right, broken);
        let mut frames = Frames::new(ends(), 3);
        for _ in 0..1000 {
            let right = frames.right()?;
            let mut mended = right.clone();
            mend(&mut mended);
            // A checksum of UDP that comes out as zero is written as all ones.
            assert!(right == mended || right[40..42] == [0xff; 2], "{right:02x?}");
        }
        Ok(())
    }

    #[test]
    fn frames_follow_from_the_seed() -> Result<()> {
        let (mut one, mut other) = (Frames::new(ends(), 5), Frames::new(ends(), 5));
        for _ in 0..10_000 {
            let frame = one.frame()?;
            assert_eq!(frame, other.frame()?);
            assert!((14..=2400).contains(&frame.len()), "{}", frame.len());
        }
        Ok(())
    }
}
