//! The checksum of cksum(1) (POSIX).

/// The checksum of some bytes and their number, as the program prints them.
pub fn cksum(bytes: &[u8]) -> String {
    let mut sum = 0_u32;
    let mut add = |byte: u8| {
        sum ^= u32::from(byte) << 24;
        for _ in 0..8 {
            let carry = sum >> 31;
            sum = sum << 1 ^ (0x04c1_1db7 * carry);
        }
    };
    bytes.iter().copied().for_each(&mut add);
    let mut length = bytes.len();
    while length > 0 {
        add(length as u8);
        length >>= 8;
    }
    format!("{} {}", !sum, bytes.len())
}
