//! A file's bytes, in chunks: its own, or borrowed from memory that holds them anyway.
//!
//! A file grows chunk by chunk, so that it needs no long run of free memory and nothing is ever moved. A chunk may be
//! shorter than its place, and may be empty: what is missing is zero.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::room::{self, shrink};
use crate::{Error, Result};

/// The longest file, in bytes.
pub(super) const LONGEST: u64 = i64::MAX as u64;

/// Bytes in a chunk, at most.
const CHUNK: usize = 64 << 10;

/// The bytes of a file.
#[derive(Debug)]
pub(super) struct Bytes {
    stored: Stored,
    length: u64,
}

#[derive(Debug)]
enum Stored {
    /// Memory that the kernel never gives away: an archive's. Nobody has written to the file yet.
    Borrowed(&'static [u8]),
    /// Of these, only what was written to is the file's own.
    Chunks(Vec<Cow<'static, [u8]>>),
}

impl Bytes {
    /// None yet.
    pub(super) const fn new() -> Bytes {
        Bytes { stored: Stored::Chunks(Vec::new()), length: 0 }
    }

    /// Bytes that stay where they are until somebody writes to them.
    pub(super) const fn borrowed(bytes: &'static [u8]) -> Bytes {
        Bytes { stored: Stored::Borrowed(bytes), length: bytes.len() as u64 }
    }

    /// How many there are.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// How many of them are stored; the others are zero.
    pub(super) fn stored(&self) -> u64 {
        match &self.stored {
            Stored::Borrowed(bytes) => bytes.len() as u64,
            Stored::Chunks(chunks) => chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        }
    }

    fn chunk(&self, number: usize) -> &[u8] {
        match &self.stored {
            Stored::Borrowed(bytes) => bytes.chunks(CHUNK).nth(number).unwrap_or_default(),
            Stored::Chunks(chunks) => chunks.get(number).map_or(&[], |chunk| chunk),
        }
    }

    /// Copies what stands at `offset` to the buffer; tells how many bytes.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = self.length.saturating_sub(offset);
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let mut rest = &mut buffer[..length];
        let mut at = offset as usize;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at_mut(rest.len().min(CHUNK - at % CHUNK));
            let stored = self.chunk(at / CHUNK).get(at % CHUNK..).unwrap_or_default();
            let (bytes, zeros) = part.split_at_mut(part.len().min(stored.len()));
            bytes.copy_from_slice(&stored[..bytes.len()]);
            zeros.fill(0);
            at += part.len();
            rest = behind;
        }
        length
    }

    /// Writes at `offset`; tells how many bytes there was room for. A write of nothing changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::FileTooLarge`]; [`Error::NoSpace`] when there was room for none.
    pub(super) fn write_at(&mut self, new: &[u8], offset: u64) -> Result<usize> {
        if new.is_empty() {
            return Ok(0);
        }
        let allowed = LONGEST.saturating_sub(offset);
        if allowed == 0 {
            return Err(Error::FileTooLarge);
        }
        let mut rest =
            &new[..usize::try_from(allowed).map_or(new.len(), |most| most.min(new.len()))];
        let mut at = offset as usize;
        let mut written = 0;
        while !rest.is_empty() {
            let start = at % CHUNK;
            let (part, behind) = rest.split_at(rest.len().min(CHUNK - start));
            match self.own(at / CHUNK, start + part.len()) {
                Ok(chunk) => {
                    if start > chunk.len() {
                        chunk.resize(start, 0);
                    }
                    let over = part.len().min(chunk.len() - start);
                    chunk[start..start + over].copy_from_slice(&part[..over]);
                    chunk.extend_from_slice(&part[over..]);
                }
                Err(error) if written == 0 => return Err(error),
                Err(_) => break,
            }
            at += part.len();
            written += part.len();
            self.length = self.length.max(at as u64);
            rest = behind;
        }
        Ok(written)
    }

    /// Makes the file longer, with zeros, or shorter.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a length that no file has.
    pub(super) fn set_length(&mut self, length: u64) -> Result<()> {
        if length > LONGEST {
            return Err(Error::InvalidArgument);
        }
        let shorter = length < self.length;
        self.length = length;
        let length = length as usize;
        match &mut self.stored {
            _ if !shorter => {}
            Stored::Borrowed(bytes) => *bytes = &bytes[..length.min(bytes.len())],
            Stored::Chunks(chunks) => {
                chunks.truncate(length.div_ceil(CHUNK));
                shrink(chunks);
                match chunks.get_mut(length / CHUNK) {
                    Some(Cow::Borrowed(bytes)) => {
                        *bytes = &bytes[..bytes.len().min(length % CHUNK)];
                    }
                    Some(Cow::Owned(own)) => {
                        own.truncate(length % CHUNK);
                        shrink(own);
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// A chunk that is the file's own, with room for `length` bytes in all.
    fn own(&mut self, number: usize, length: usize) -> Result<&mut Vec<u8>> {
        if let Stored::Borrowed(bytes) = self.stored {
            let mut chunks = Vec::new();
            room::reserve(&mut chunks, bytes.len().div_ceil(CHUNK))?;
            chunks.extend(bytes.chunks(CHUNK).map(Cow::Borrowed));
            self.stored = Stored::Chunks(chunks);
        }
        let Stored::Chunks(chunks) = &mut self.stored else {
            unreachable!("borrowed bytes have just become chunks")
        };
        let missing = (number + 1).saturating_sub(chunks.len());
        room::reserve(chunks, missing)?;
        chunks.extend((0..missing).map(|_| Cow::Owned(Vec::new())));
        let chunk = &mut chunks[number];
        if let Cow::Borrowed(bytes) = *chunk {
            let mut own = Vec::new();
            room::reserve(&mut own, bytes.len().max(length))?;
            own.extend_from_slice(bytes);
            *chunk = Cow::Owned(own);
        }
        let Cow::Owned(own) = chunk else { unreachable!("a borrowed chunk was just copied") };
        // A chunk that has grown beyond its first step will most likely become a whole one.
        let step = (own.capacity() / 2).min(CHUNK - own.len());
        room::reserve_in_steps(own, length.saturating_sub(own.len()), step)?;
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &Bytes) -> Vec<u8> {
        let mut buffer = vec![7; bytes.length() as usize + 3];
        let length = bytes.read_at(&mut buffer, 0);
        buffer.truncate(length);
        buffer
    }

    #[test]
    fn borrowed_bytes_are_copied_where_they_are_written_to() {
        let text: &'static [u8] = vec![1; 3 * CHUNK].leak();
        let mut bytes = Bytes::borrowed(text);
        bytes.set_length(2 * CHUNK as u64 + 8).unwrap();
        assert!(matches!(bytes.stored, Stored::Borrowed(rest) if rest.as_ptr() == text.as_ptr()));
        assert_eq!(bytes.write_at(b"!", 2 * CHUNK as u64 + 8), Ok(1));
        assert_eq!(bytes.chunk(0).as_ptr(), text.as_ptr());
        assert_ne!(bytes.chunk(2).as_ptr(), text[2 * CHUNK..].as_ptr());
        let mut expected = vec![1; 2 * CHUNK + 8];
        expected.push(b'!');
        assert_eq!(all(&bytes), expected);
        bytes.set_length(CHUNK as u64 + 3).unwrap();
        assert_eq!(all(&bytes), vec![1; CHUNK + 3]);
        assert_eq!(text, vec![1; 3 * CHUNK]);
    }

    #[test]
    fn zeros_take_no_memory() {
        let mut bytes = Bytes::new();
        bytes.write_at(b"ab", 0).unwrap();
        bytes.write_at(b"c", 100 * CHUNK as u64).unwrap();
        bytes.set_length(LONGEST).unwrap();
        assert_eq!((bytes.length(), bytes.stored()), (LONGEST, 3));
        let mut buffer = [1; 4];
        assert_eq!(bytes.read_at(&mut buffer, LONGEST - 3), 3);
        assert_eq!(buffer, [0, 0, 0, 1]);
        assert_eq!(bytes.read_at(&mut buffer, LONGEST), 0);
        assert_eq!(bytes.set_length(LONGEST + 1), Err(Error::InvalidArgument));
        assert_eq!(bytes.write_at(b"x", LONGEST), Err(Error::FileTooLarge));
        assert_eq!(bytes.write_at(b"xy", LONGEST - 1), Err(Error::NoSpace));
        assert_eq!((bytes.length(), bytes.stored()), (LONGEST, 3));
    }

    #[test]
    fn shorter_files_give_memory_back() {
        let mut bytes = Bytes::new();
        bytes.write_at(&[1; 3 * CHUNK], 0).unwrap();
        bytes.set_length(10).unwrap();
        assert!(matches!(
            &bytes.stored,
            Stored::Chunks(chunks) if matches!(&chunks[..], [Cow::Owned(own)] if own.capacity() == 10)
        ));
        assert_eq!(all(&bytes), [1; 10]);
    }

    #[test]
    fn a_chunk_is_never_longer_than_its_place() {
        let mut bytes = Bytes::new();
        for number in 0..CHUNK as u64 + 100 {
            bytes.write_at(&[number as u8], number).unwrap();
        }
        let Stored::Chunks(chunks) = &bytes.stored else { panic!("chunks") };
        assert!(matches!(&chunks[0], Cow::Owned(own) if own.capacity() == CHUNK));
        assert!(matches!(&chunks[1], Cow::Owned(own) if own.capacity() < 256));
    }

    proptest! {
        /// Against a plain vector.
        #[test]
        fn agrees_with_a_vector(
            borrowed in any::<bool>(),
            actions in prop::collection::vec((any::<bool>(), 0usize..3 * CHUNK, 0usize..CHUNK + 100), 1..20),
        ) {
            static TEXT: [u8; 2 * CHUNK + 5] = [9; 2 * CHUNK + 5];
            let mut bytes = if borrowed { Bytes::borrowed(&TEXT) } else { Bytes::new() };
            let mut model = all(&bytes);
            for (number, (write, offset, length)) in actions.into_iter().enumerate() {
                if write {
                    let new = vec![number as u8 + 1; length];
                    prop_assert_eq!(bytes.write_at(&new, offset as u64), Ok(length));
                    let end = offset + length;
                    if length > 0 && model.len() < end { model.resize(end, 0); }
                    if length > 0 { model[offset..end].copy_from_slice(&new); }
                } else {
                    bytes.set_length(offset as u64).unwrap();
                    model.resize(offset, 0);
                }
                prop_assert!(all(&bytes) == model);
            }
        }
    }
}
