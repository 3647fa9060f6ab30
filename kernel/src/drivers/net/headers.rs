//! Headers of frames: where they are, the sum that a device begins a checksum with, and how a large TCP
//! segment becomes several small ones.

use core::ops::Range;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const IPV6_HEADER: usize = 40;
const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;

/// Flags of TCP (RFC 9293, 3.1; RFC 3168).
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const URG: u8 = 0x20;
const CWR: u8 = 0x80;

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn set_word(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The sum of 16-bit words in ones' complement (RFC 1071), not folded.
fn sum(bytes: &[u8]) -> u32 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let sum: u32 = pairs
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum();
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
        let headers = Headers {
            v6,
            tcp,
            transport,
            payload: transport + size,
            end: ETHERNET + length,
        };
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
        if self.v6 {
            ETHERNET + 8..ETHERNET + 40
        } else {
            ETHERNET + 12..ETHERNET + 20
        }
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

/// Room for headers: the longest of IPv4 and TCP with all options would take 6 bytes more.
pub const ROOM: usize = 128;

/// A TCP segment that came in several pieces, of which each is to be a segment of its own.
#[derive(Clone, Debug)]
pub struct Train {
    template: [u8; ROOM],
    headers: Headers,
    sequence: u32,
    identification: u16,
    /// Bytes of payload that are still to come.
    left: usize,
}

impl Train {
    /// Begins with the first piece, which is made a segment of its own. `None` when the frame is not such that
    /// it can be cut; it is as it was then.
    pub fn begin(first: &mut [u8]) -> Option<Train> {
        let headers = Headers::of(first)?;
        let left = headers.end.checked_sub(first.len())?;
        let flags = *first.get(headers.transport + 13)?;
        let whole = headers.tcp
            && headers.payload <= ROOM
            && left > 0
            && first.len() > headers.payload
            && flags & (SYN | RST | URG) == 0
            && (headers.v6 || fold(sum(&first[ETHERNET..headers.transport])) == 0xffff);
        if !whole {
            return None;
        }
        let mut template = [0; ROOM];
        template[..headers.payload].copy_from_slice(&first[..headers.payload]);
        let sequence = template[headers.transport + 4..].first_chunk()?;
        let mut train = Train {
            sequence: u32::from_be_bytes(*sequence),
            identification: word(&template, ETHERNET + 4),
            template,
            headers,
            left: left + first.len() - headers.payload,
        };
        train.template[headers.transport + 13] &= !CWR;
        let payload = first.len() - headers.payload;
        train.write(&mut first[..headers.payload], payload, flags & CWR);
        Some(train)
    }

    /// True when all of the payload has come.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Bytes that the headers take.
    #[must_use]
    pub const fn header(&self) -> usize {
        self.headers.payload
    }

    /// Makes a segment of the next piece: writes headers to `header`, which is [`Train::header`] bytes long. Gives
    /// how many of the `length` bytes of payload belong to it.
    pub fn next(&mut self, header: &mut [u8], length: usize) -> usize {
        let payload = length.min(self.left);
        header.copy_from_slice(&self.template[..self.headers.payload]);
        self.write(header, payload, 0);
        payload
    }

    /// Writes what is different in each segment, and goes on to the next.
    fn write(&mut self, header: &mut [u8], payload: usize, more: u8) {
        let transport = self.headers.transport;
        header[transport + 4..transport + 8].copy_from_slice(&self.sequence.to_be_bytes());
        let mut flags = self.template[transport + 13] | more;
        if payload < self.left {
            flags &= !(FIN | PSH);
        }
        header[transport + 13] = flags;
        let length = self.headers.payload - ETHERNET + payload;
        if self.headers.v6 {
            set_word(header, ETHERNET + 4, (length - IPV6_HEADER) as u16);
        } else {
            set_word(header, ETHERNET + 2, length as u16);
            set_word(header, ETHERNET + 4, self.identification);
            set_word(header, ETHERNET + 10, 0);
            let checksum = !fold(sum(&header[ETHERNET..transport]));
            set_word(header, ETHERNET + 10, checksum);
            self.identification = self.identification.wrapping_add(1);
        }
        self.sequence = self.sequence.wrapping_add(payload as u32);
        self.left -= payload;
    }
}
