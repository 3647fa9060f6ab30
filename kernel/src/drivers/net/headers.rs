//! Headers of frames: where they are, and the sum that a device begins a checksum with.

use core::ops::Range;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const IPV6_HEADER: usize = 40;
const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn set_word(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The sum of 16-bit words in ones' complement (RFC 1071), not folded.
fn sum(bytes: &[u8]) -> u32 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    sum + rest.first().map_or(0, |byte| u32::from(*byte) << 8)
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Where the parts of a TCP segment or UDP datagram are in an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// IPv6, not IPv4.
    pub v6: bool,
    /// TCP, not UDP.
    pub tcp: bool,
    /// Where the header of TCP or UDP begins.
    pub transport: usize,
    /// Where the payload begins.
    pub payload: usize,
    /// Where the IP packet ends, by its own length. May be behind the end of the bytes at hand.
    pub end: usize,
}

impl Headers {
    /// Reads the headers. `None` when the frame is no whole packet of TCP or UDP over IP: a fragment, or one with
    /// extension headers.
    #[inline]
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Headers> {
        let ethernet: &[u8; ETHERNET] = frame.first_chunk()?;
        let packet = &frame[ETHERNET..];
        let (v6, protocol, network, length) = match word(ethernet, 12) {
            IPV4 => {
                let header: &[u8; 20] = packet.first_chunk()?;
                let size = usize::from(header[0] & 15) * 4;
                let fragment = word(header, 6) & 0x3fff != 0;
                if header[0] >> 4 != 4 || size < 20 || fragment {
                    return None;
                }
                (false, header[9], size, usize::from(word(header, 2)))
            }
            IPV6 => {
                let header: &[u8; IPV6_HEADER] = packet.first_chunk()?;
                if header[0] >> 4 != 6 {
                    return None;
                }
                let length = IPV6_HEADER + usize::from(word(header, 4));
                (true, header[6], IPV6_HEADER, length)
            }
            _ => return None,
        };
        let transport = ETHERNET + network;
        let (tcp, size) = match protocol {
            TCP => (true, usize::from(*frame.get(transport + 12)? >> 4) * 4),
            UDP => (false, UDP_HEADER),
            _ => return None,
        };
        let headers =
            Headers { v6, tcp, transport, payload: transport + size, end: ETHERNET + length };
        let right = size >= UDP_HEADER
            && (!tcp || size >= 20)
            && headers.payload <= frame.len()
            && headers.payload <= headers.end;
        right.then_some(headers)
    }

    /// Where the checksum is, counted from the start of the TCP or UDP header.
    #[inline]
    #[must_use]
    pub const fn checksum_offset(&self) -> usize {
        if self.tcp { 16 } else { 6 }
    }

    /// The addresses of the packet.
    const fn addresses(&self) -> Range<usize> {
        if self.v6 { ETHERNET + 8..ETHERNET + 40 } else { ETHERNET + 12..ETHERNET + 20 }
    }

    /// Puts the sum of the pseudo-header where the checksum will be: a device adds the rest (RFC 9293, 3.1;
    /// RFC 8200, 8.1; Virtual I/O Device version 1.2, 5.1.6.2).
    #[inline]
    pub fn begin_checksum(&self, frame: &mut [u8]) {
        let protocol = if self.tcp { TCP } else { UDP };
        let length = self.end - self.transport;
        let sum = sum(&frame[self.addresses()]) + u32::from(protocol) + length as u32;
        set_word(frame, self.transport + self.checksum_offset(), fold(sum));
    }
}
