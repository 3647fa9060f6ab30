//! What is in front of each packet (Virtual I/O Device version 1.2, 5.10.6).

/// Bytes of a header.
pub const SIZE: usize = size_of::<virtio::vsock::Hdr>();

/// A packet's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Who sends it.
    pub from: (u64, u32),
    /// Who gets it: CID and port.
    pub to: (u64, u32),
    /// Bytes of payload behind it.
    pub length: u32,
    /// The kind of socket, a `virtio::vsock::Type`.
    pub kind: u16,
    /// What it is about, a `virtio::vsock::Op`.
    pub operation: u16,
    /// What the operation says of them.
    pub flags: u32,
    /// Bytes that the sender has room for in all.
    pub capacity: u32,
    /// Bytes that the sender has passed on to its program, ever, modulo 2^32.
    pub forwarded: u32,
}

impl Header {
    /// Reads a header.
    #[must_use]
    pub fn decode(bytes: &[u8; SIZE]) -> Header {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Header {
            from: (long(0), word(16)),
            to: (long(8), word(20)),
            length: word(24),
            kind: half(28),
            operation: half(30),
            flags: word(32),
            capacity: word(36),
            forwarded: word(40),
        }
    }

    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[0..8].copy_from_slice(&self.from.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.to.0.to_le_bytes());
        let kind = u32::from(self.kind) | u32::from(self.operation) << 16;
        let words =
            [self.from.1, self.to.1, self.length, kind, self.flags, self.capacity, self.forwarded];
        for (place, word) in bytes[16..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_lies_as_the_specification_says() {
        let header = Header {
            from: (0x0102_0304_0506_0708, 0x1112_1314),
            to: (2, 1024),
            length: 5,
            kind: 1,
            operation: 7,
            flags: 3,
            capacity: 0x4_0000,
            forwarded: 0xffff_fffe,
        };
        let bytes = header.encode();
        assert_eq!(bytes.len(), 44);
        assert_eq!(bytes[..8], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes[16..20], [0x14, 0x13, 0x12, 0x11]);
        assert_eq!(bytes[20..24], [0, 4, 0, 0]);
        assert_eq!(bytes[28..32], [1, 0, 7, 0]);
        assert_eq!(Header::decode(&bytes), header);
    }
}
