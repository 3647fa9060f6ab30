//! Files compressed with gzip (RFC 1952), inflated into memory at once.

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::elf::u32_at;

/// What a compressed file begins with; the third byte is the only known method.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// The fixed part of the header.
const HEADER_SIZE: usize = 10;
/// Checksum and length, at the end.
const TRAILER_SIZE: usize = 8;

/// How many bytes one byte can become (two bits for 258).
const MOST: u64 = 1032;

const HEADER_CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const UNKNOWN: u8 = 0b1110_0000;

/// The checksum of what was compressed.
static CHECKSUM: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// A compressed file.
#[derive(Debug)]
pub struct Gzip<'a> {
    deflated: &'a [u8],
    checksum: u32,
    /// How many bytes were compressed, as the file says.
    pub size: u64,
}

/// Whether a file looks compressed.
#[must_use]
pub fn is_gzip(file: &[u8]) -> bool {
    file.starts_with(&MAGIC)
}

impl<'a> Gzip<'a> {
    /// Reads header and trailer.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn parse(file: &'a [u8]) -> Result<Self, &'static str> {
        let (body, trailer) = file
            .len()
            .checked_sub(TRAILER_SIZE)
            .and_then(|middle| file.split_at_checked(middle))
            .ok_or(BREAKS_OFF)?;
        let (header, mut rest) = body.split_at_checked(HEADER_SIZE).ok_or(BREAKS_OFF)?;
        if !is_gzip(header) {
            return Err("it does not begin with a gzip header");
        }
        let flags = header.get(3).copied().unwrap_or_default();
        if flags & UNKNOWN != 0 {
            return Err("its header has unknown flags");
        }
        if flags & EXTRA != 0 {
            let (size, after) = rest.split_first_chunk().ok_or(BREAKS_OFF)?;
            let size = usize::from(u16::from_le_bytes(*size));
            rest = after.get(size..).ok_or(BREAKS_OFF)?;
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                let end = rest.iter().position(|byte| *byte == 0).ok_or(BREAKS_OFF)?;
                rest = rest.get(end + 1..).ok_or(BREAKS_OFF)?;
            }
        }
        if flags & HEADER_CHECKSUM != 0 {
            rest = rest.get(2..).ok_or(BREAKS_OFF)?;
        }
        let size = u64::from(u32_at(trailer, 4).ok_or(BREAKS_OFF)?);
        if size > MOST * rest.len() as u64 {
            return Err(WRONG_LENGTH);
        }
        Ok(Self { deflated: rest, checksum: u32_at(trailer, 0).ok_or(BREAKS_OFF)?, size })
    }

    /// Fills `memory`, which is as long as [`Self::size`] says, with what was compressed.
    ///
    /// # Errors
    ///
    /// What is wrong with the compressed data.
    pub fn inflate(&self, memory: &mut [u8]) -> Result<(), &'static str> {
        let mut state = DecompressorOxide::new();
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, consumed, written) = decompress(&mut state, self.deflated, memory, 0, flags);
        match status {
            TINFLStatus::Done if consumed < self.deflated.len() => {
                return Err("something follows behind the compressed data");
            }
            TINFLStatus::Done if written == memory.len() => {}
            TINFLStatus::Done | TINFLStatus::HasMoreOutput => {
                return Err(WRONG_LENGTH);
            }
            TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
                return Err(BREAKS_OFF);
            }
            _ => return Err("the compressed data make no sense"),
        }
        if CHECKSUM.checksum(memory) != self.checksum {
            return Err("its checksum is wrong");
        }
        Ok(())
    }
}

const BREAKS_OFF: &str = "it breaks off";
const WRONG_LENGTH: &str = "its length is not the one that it states";

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;
    use std::io::Write;
    use std::vec;
    use std::vec::Vec;

    fn compressed(bytes: &[u8], builder: GzBuilder) -> Vec<u8> {
        let mut writer = builder.write(Vec::new(), Compression::default());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn inflated(file: &[u8]) -> Result<Vec<u8>, &'static str> {
        let gzip = Gzip::parse(file)?;
        // A state that lies may ask for anything; a machine has an end.
        let mut memory = vec![0xee; gzip.size.min(1 << 20) as usize];
        gzip.inflate(&mut memory)?;
        Ok(memory)
    }

    #[test]
    fn every_header_is_read() {
        let text = "a text ".repeat(1000);
        for builder in [
            GzBuilder::new(),
            GzBuilder::new().filename("name").comment("comment"),
            GzBuilder::new().extra(&b"extra"[..]).filename("name"),
        ] {
            let file = compressed(text.as_bytes(), builder);
            assert_eq!(inflated(&file).unwrap(), text.as_bytes());
        }
        let nothing = compressed(b"", GzBuilder::new());
        assert_eq!(inflated(&nothing).unwrap(), b"");
    }

    #[test]
    fn damage_is_seen() {
        let file = compressed("some text ".repeat(100).as_bytes(), GzBuilder::new());
        for length in 0..file.len() {
            assert!(inflated(&file[..length]).is_err(), "{length} bytes");
        }
        let end = file.len();
        for (at, what) in [
            (3, "its header has unknown flags"),
            (end - 5, "its checksum is wrong"),
            (end - 1, "its length is not the one that it states"),
        ] {
            let mut file = file.clone();
            file[at] ^= 0x80;
            assert_eq!(inflated(&file), Err(what));
        }
        let twice = [&file[..], &file[..]].concat();
        assert_eq!(inflated(&twice), Err("something follows behind the compressed data"));
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(mut file in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(start) = file.first_chunk_mut() {
                *start = MAGIC;
            }
            let _ = inflated(&file);
        }
    }
}
