//! Parts of memory, most often the guest's, which are read and written from where they are.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use virtio_queue::desc::split::Descriptor;
use vm_memory::{GuestMemoryBackend, VolatileSlice};

use crate::memory::Memory;

/// The most parts that Linux takes at once (`UIO_MAXIOV`).
const MOST: usize = 1024;

/// Parts, one behind the other. The guest may write to its own meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Parts<'a>(Vec<VolatileSlice<'a>>);

impl<'a> From<&'a mut [u8]> for Parts<'a> {
    fn from(bytes: &'a mut [u8]) -> Parts<'a> {
        Parts(vec![VolatileSlice::from(bytes)])
    }
}

impl<'a> Parts<'a> {
    /// The buffers of a request; `None` when one of them is not in the guest's memory.
    pub fn of(
        memory: &'a Memory,
        mut descriptors: impl Iterator<Item = Descriptor>,
    ) -> Option<Parts<'a>> {
        let mut parts = Vec::with_capacity(4);
        descriptors.try_for_each(|one| {
            let part = memory.map().get_slice(one.addr(), one.len() as usize);
            part.map(|part| parts.push(part)).ok()
        })?;
        Some(Parts(parts))
    }

    /// How many bytes they are.
    pub fn len(&self) -> usize {
        self.0.iter().map(VolatileSlice::len).sum()
    }

    /// These, with others behind them.
    pub fn and(mut self, others: Parts<'a>) -> Parts<'a> {
        self.0.extend(others.0);
        self
    }

    /// The first `at` bytes, and what is behind them.
    pub fn split(&self, mut at: usize) -> (Parts<'a>, Parts<'a>) {
        let (mut before, mut behind) = (Parts::default(), Parts::default());
        for part in &self.0 {
            let here = at.min(part.len());
            at -= here;
            if let Ok((first, rest)) = part.split_at(here) {
                before.0.extend((here > 0).then_some(first));
                behind.0.extend((here < part.len()).then_some(rest));
            }
        }
        (before, behind)
    }

    /// Copies from them; gives how much there was.
    pub fn copy_to(&self, bytes: &mut [u8]) -> usize {
        let copy = |at: usize, part: &VolatileSlice<'_>| at + part.copy_to(&mut bytes[at..]);
        self.0.iter().fold(0, copy)
    }

    /// Copies to them; gives how much there was room for.
    pub fn copy_from(&self, bytes: &[u8]) -> usize {
        let mut at = 0;
        for part in &self.0 {
            let length = part.len().min(bytes.len() - at);
            part.copy_from(&bytes[at..at + length]);
            at += length;
        }
        at
    }

    /// `readv(2)`.
    pub fn read(&self, file: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: `transfer` has made the parts.
        self.transfer(|parts, count| unsafe { libc::readv(file.as_raw_fd(), parts, count) })
    }

    /// `writev(2)`.
    pub fn write(&self, file: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: `transfer` has made the parts.
        self.transfer(|parts, count| unsafe { libc::writev(file.as_raw_fd(), parts, count) })
    }

    /// `preadv(2)`.
    pub fn read_at(&self, file: BorrowedFd<'_>, at: u64) -> io::Result<usize> {
        let (file, at) = (file.as_raw_fd(), at as libc::off_t);
        // SAFETY: `transfer` has made the parts.
        self.transfer(|parts, count| unsafe { libc::preadv(file, parts, count, at) })
    }

    /// `pwritev(2)`.
    pub fn write_at(&self, file: BorrowedFd<'_>, at: u64) -> io::Result<usize> {
        let (file, at) = (file.as_raw_fd(), at as libc::off_t);
        // SAFETY: `transfer` has made the parts.
        self.transfer(|parts, count| unsafe { libc::pwritev(file, parts, count, at) })
    }

    /// Makes a call with as many parts as it takes: memory that is there as long as they are.
    fn transfer(
        &self,
        call: impl Fn(*const libc::iovec, libc::c_int) -> libc::ssize_t,
    ) -> io::Result<usize> {
        let guards = self.0.iter().take(MOST).map(VolatileSlice::ptr_guard_mut);
        let guards = guards.collect::<Vec<_>>();
        let parts = guards
            .iter()
            .map(|guard| libc::iovec { iov_base: guard.as_ptr().cast(), iov_len: guard.len() });
        let parts = parts.collect::<Vec<_>>();
        loop {
            if let Ok(length) = usize::try_from(call(parts.as_ptr(), parts.len() as libc::c_int)) {
                return Ok(length);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn parts_are_split_anywhere() {
        let mut bytes = [b"abc".to_vec(), Vec::new(), b"defg".to_vec()];
        let [a, b, c] = &mut bytes;
        let parts =
            Parts::from(&mut a[..]).and(Parts::from(&mut b[..])).and(Parts::from(&mut c[..]));
        for at in 0..9 {
            let (before, behind) = parts.split(at);
            assert_eq!(before.len(), at.min(7));
            let mut all = [0; 7];
            let first = before.copy_to(&mut all);
            assert_eq!(first + behind.copy_to(&mut all[first..]), 7);
            assert_eq!(&all, b"abcdefg");
        }
        let mut few = [0; 4];
        assert_eq!((parts.copy_to(&mut few), &few), (4, b"abcd"));
        assert_eq!(parts.copy_from(b"012345678"), 7);
        assert_eq!(bytes.concat(), b"0123456");
    }

    #[test]
    fn more_parts_than_linux_takes_are_written_in_pieces() -> io::Result<()> {
        let file = tempfile::tempfile()?;
        let mut bytes = vec![7; 3000];
        let parts = bytes.chunks_mut(1).map(Parts::from).reduce(Parts::and);
        let parts = parts.unwrap_or_default();
        assert_eq!(parts.write_at(file.as_fd(), 5)?, MOST);
        assert_eq!(parts.read_at(file.as_fd(), 5 + MOST as u64 - 1)?, 1);
        Ok(())
    }
}
