//! One header: 512 bytes with fields at fixed places (POSIX.1-2017, pax, "ustar Header Block").

use crate::Name;

/// What everything in an archive is a multiple of, in bytes.
pub const BLOCK: usize = 512;

/// Where the checksum lies.
const CHECKSUM: core::ops::Range<usize> = 148..156;

/// A header.
pub struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    pub const fn new(block: &'a [u8; BLOCK]) -> Self {
        Self(block)
    }

    fn field(&self, start: usize, length: usize) -> &'a [u8] {
        self.0.get(start..start + length).unwrap_or_default()
    }

    /// Whether this is the end of an archive.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// The sum of all bytes, the checksum itself taken for spaces. Old programs add signed bytes.
    pub fn has_valid_checksum(&self) -> bool {
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (index, byte) in self.0.iter().enumerate() {
            let byte = if CHECKSUM.contains(&index) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        let found = number(self.field(CHECKSUM.start, CHECKSUM.len()));
        found == Some(unsigned) || found == Some(signed)
    }

    /// The name, with the prefix that only ustar has.
    pub fn name(&self) -> Name<'a> {
        let prefix = match self.field(257, 6) {
            b"ustar\0" => text(self.field(345, 155)),
            _ => b"",
        };
        Name::new(prefix, text(self.field(0, 100)))
    }

    /// The target of a link.
    pub fn target(&self) -> &'a [u8] {
        text(self.field(157, 100))
    }

    /// What kind of entry it is.
    pub fn flag(&self) -> u8 {
        self.0.get(156).copied().unwrap_or_default()
    }

    /// Whether content follows. The sizes of links and directories say nothing.
    pub fn has_content(&self) -> bool {
        !matches!(self.flag(), b'1'..=b'6')
    }

    /// The content's length in bytes.
    pub fn size(&self) -> Option<u64> {
        u64::try_from(number(self.field(124, 12))?).ok()
    }

    /// Permission bits.
    pub fn mode(&self) -> Option<u32> {
        u32::try_from(number(self.field(100, 8))?).ok()
    }

    /// When the content last changed, in seconds since 1970.
    pub fn modified(&self) -> Option<i64> {
        number(self.field(136, 12))
    }
}

/// The bytes before the first NUL.
pub fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits between spaces, NULs behind them, nothing at all for 0; or, as GNU tar writes
/// large and negative ones, the bytes themselves behind a first bit that is set.
fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The second bit is the sign.
        let mut value = i64::from(first.cast_signed() << 1 >> 1);
        for byte in rest {
            value = value.checked_mul(256)? | i64::from(*byte);
        }
        return Some(value);
    }
    let mut value = 0_i64;
    for digit in text(field).trim_ascii() {
        let digit = match digit {
            b'0'..=b'7' => i64::from(digit - b'0'),
            _ => return None,
        };
        value = value.checked_mul(8)? | digit;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"77777777777\0"), Some(0o77_777_777_777));
        assert_eq!(number(&[0; 8]), Some(0));
        assert_eq!(number(b"0000648\0"), None);
        assert_eq!(number(b"-000644\0"), None);
        let mut binary = [0; 12];
        (binary[0], binary[6]) = (0x80, 1);
        assert_eq!(number(&binary), Some(1 << 40));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0xbf; 12]), None);
        assert_eq!(number(&[0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
