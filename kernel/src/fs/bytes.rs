//! A file's bytes: its own, or borrowed from memory that holds them anyway.

use alloc::vec::Vec;
use core::ops::Deref;

use super::reserve;
use crate::Result;

/// The bytes of a file. What is borrowed is copied when it is first written to.
#[derive(Debug)]
pub(super) enum Bytes {
    /// Memory that the kernel never gives away: an archive's.
    Borrowed(&'static [u8]),
    /// The file's own.
    Owned(Vec<u8>),
}

impl Bytes {
    /// Makes the bytes the file's own, with room for `additional` more.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NoSpace`].
    pub(super) fn own(&mut self, additional: usize) -> Result<&mut Vec<u8>> {
        if let Bytes::Borrowed(bytes) = *self {
            let mut own = Vec::new();
            reserve(&mut own, bytes.len() + additional)?;
            own.extend_from_slice(bytes);
            *self = Bytes::Owned(own);
        }
        let Bytes::Owned(own) = self else {
            unreachable!("borrowed bytes were just copied")
        };
        reserve(own, additional)?;
        Ok(own)
    }

    /// Drops what lies behind the first `length` bytes. Copies nothing.
    pub(super) fn truncate(&mut self, length: usize) {
        match self {
            Bytes::Borrowed(bytes) => *bytes = &bytes[..length.min(bytes.len())],
            Bytes::Owned(own) => {
                own.truncate(length);
                if own.capacity() / 4 > length {
                    own.shrink_to_fit();
                }
            }
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Owned(own) => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrowed_bytes_are_copied_by_the_first_write_only() {
        static TEXT: &[u8] = b"from the archive";
        let mut bytes = Bytes::Borrowed(TEXT);
        bytes.truncate(8);
        assert!(matches!(&bytes, Bytes::Borrowed(rest) if rest.as_ptr() == TEXT.as_ptr()));
        bytes.own(1).unwrap().push(b'!');
        assert_eq!(&*bytes, b"from the!");
        let place = bytes.as_ptr();
        bytes.own(0).unwrap()[0] = b'F';
        assert_eq!((&*bytes, bytes.as_ptr()), (&b"From the!"[..], place));
        assert_eq!(TEXT, b"from the archive");
    }

    #[test]
    fn truncation_gives_memory_back() {
        let mut bytes = Bytes::Owned(vec![1; 4096]);
        bytes.truncate(10);
        assert!(matches!(&bytes, Bytes::Owned(own) if own.capacity() < 4096));
        assert_eq!(*bytes, [1; 10]);
        bytes.truncate(20);
        assert_eq!(bytes.len(), 10);
    }
}
