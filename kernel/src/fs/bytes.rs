//! A file's bytes: its own, or borrowed from memory that holds them anyway.

use alloc::vec::Vec;

use super::room::{reserve, shrink};
use crate::{Error, Result};

/// The longest file, in bytes.
pub(super) const LONGEST: u64 = i64::MAX as u64;

/// The bytes of a file.
#[derive(Debug)]
pub(super) struct Bytes {
    stored: Stored,
    /// The file's length. What lies behind the stored bytes is zero, and takes no memory.
    length: u64,
}

#[derive(Debug)]
enum Stored {
    /// Memory that the kernel never gives away: an archive's. It is copied when it is first written to.
    Borrowed(&'static [u8]),
    /// The file's own.
    Owned(Vec<u8>),
}

impl Bytes {
    /// None yet.
    pub(super) const fn new() -> Bytes {
        Bytes {
            stored: Stored::Owned(Vec::new()),
            length: 0,
        }
    }

    /// Bytes that stay where they are until somebody writes to them.
    pub(super) const fn borrowed(bytes: &'static [u8]) -> Bytes {
        Bytes {
            stored: Stored::Borrowed(bytes),
            length: bytes.len() as u64,
        }
    }

    /// How many there are.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// How many of them take memory.
    pub(super) fn stored(&self) -> usize {
        self.as_slice().len()
    }

    fn as_slice(&self) -> &[u8] {
        match &self.stored {
            Stored::Borrowed(bytes) => bytes,
            Stored::Owned(own) => own,
        }
    }

    /// Copies what stands at `offset` to the buffer; tells how many bytes.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = self.length.saturating_sub(offset);
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let buffer = &mut buffer[..length];
        let stored = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.as_slice().get(offset..))
            .unwrap_or_default();
        let (first, zeros) = buffer.split_at_mut(length.min(stored.len()));
        first.copy_from_slice(&stored[..first.len()]);
        zeros.fill(0);
        length
    }

    /// Writes at `offset`, all or nothing. A write of nothing changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::FileTooLarge`]; [`Error::NoSpace`].
    pub(super) fn write_at(&mut self, new: &[u8], offset: u64) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let end = offset
            .checked_add(new.len() as u64)
            .filter(|end| *end <= LONGEST)
            .ok_or(Error::FileTooLarge)?;
        let (start, stop) = (offset as usize, end as usize);
        let own = self.own(stop)?;
        if start > own.len() {
            own.resize(start, 0);
        }
        let over = new.len().min(own.len() - start);
        own[start..start + over].copy_from_slice(&new[..over]);
        own.extend_from_slice(&new[over..]);
        self.length = self.length.max(end);
        Ok(())
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
        self.length = length;
        let length = length as usize;
        match &mut self.stored {
            Stored::Borrowed(bytes) => *bytes = &bytes[..length.min(bytes.len())],
            Stored::Owned(own) if length < own.len() => {
                own.truncate(length);
                shrink(own);
            }
            Stored::Owned(_) => {}
        }
        Ok(())
    }

    /// Makes the bytes the file's own, with room for `length` of them in all.
    fn own(&mut self, length: usize) -> Result<&mut Vec<u8>> {
        if let Stored::Borrowed(bytes) = self.stored {
            let mut own = Vec::new();
            reserve(&mut own, bytes.len().max(length))?;
            own.extend_from_slice(bytes);
            self.stored = Stored::Owned(own);
        }
        let Stored::Owned(own) = &mut self.stored else {
            unreachable!("borrowed bytes were just copied")
        };
        reserve(own, length.saturating_sub(own.len()))?;
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
    fn borrowed_bytes_are_copied_by_the_first_write_only() {
        static TEXT: &[u8] = b"from the archive";
        let mut bytes = Bytes::borrowed(TEXT);
        bytes.set_length(8).unwrap();
        assert_eq!(bytes.as_slice().as_ptr(), TEXT.as_ptr());
        bytes.write_at(b"!", 8).unwrap();
        assert_eq!(all(&bytes), b"from the!");
        let place = bytes.as_slice().as_ptr();
        bytes.write_at(b"F", 0).unwrap();
        assert_eq!(bytes.as_slice().as_ptr(), place);
        assert_eq!(all(&bytes), b"From the!");
        assert_eq!(TEXT, b"from the archive");
    }

    #[test]
    fn zeros_at_the_end_take_no_memory() {
        let mut bytes = Bytes::new();
        bytes.write_at(b"ab", 0).unwrap();
        bytes.set_length(LONGEST).unwrap();
        assert_eq!((bytes.length(), bytes.stored()), (LONGEST, 2));
        let mut buffer = [1; 4];
        assert_eq!(bytes.read_at(&mut buffer, LONGEST - 3), 3);
        assert_eq!(buffer, [0, 0, 0, 1]);
        assert_eq!(bytes.read_at(&mut buffer, LONGEST), 0);
        assert_eq!(bytes.set_length(LONGEST + 1), Err(Error::InvalidArgument));
        assert_eq!(bytes.write_at(b"x", LONGEST), Err(Error::FileTooLarge));
        assert_eq!(bytes.write_at(b"x", LONGEST - 1), Err(Error::NoSpace));
        assert_eq!((bytes.length(), bytes.stored()), (LONGEST, 2));
    }

    #[test]
    fn shorter_files_give_memory_back() {
        let mut bytes = Bytes::new();
        bytes.write_at(&[1; 4096], 0).unwrap();
        bytes.set_length(10).unwrap();
        assert!(matches!(&bytes.stored, Stored::Owned(own) if own.capacity() < 4096));
        assert_eq!(all(&bytes), [1; 10]);
    }

    proptest! {
        /// Against a plain vector.
        #[test]
        fn agrees_with_a_vector(actions in prop::collection::vec((any::<bool>(), 0usize..300, 0usize..50), 1..60)) {
            let mut bytes = Bytes::new();
            let mut model: Vec<u8> = Vec::new();
            for (number, (write, offset, length)) in actions.into_iter().enumerate() {
                if write {
                    let new = vec![number as u8 + 1; length];
                    bytes.write_at(&new, offset as u64).unwrap();
                    let end = offset + length;
                    if length > 0 && model.len() < end { model.resize(end, 0); }
                    if length > 0 { model[offset..end].copy_from_slice(&new); }
                } else {
                    bytes.set_length(offset as u64).unwrap();
                    model.resize(offset, 0);
                }
                prop_assert_eq!(all(&bytes), model.clone());
            }
        }
    }
}
