//! Standard streams of the guest.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::stdio::{stderr, stdin, stdout};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};
use vmm_sys_util::eventfd::EventFd;

use crate::devices::queue::event;
use crate::memory::Memory;

const END_OF_TRANSMISSION: u8 = 0x04;
const DATA_LINK_ESCAPE: u8 = 0x10;
/// How much of the input is read at once.
const PIECE: usize = 64 << 10;

/// The streams.
pub struct Console {
    output: OwnedFd,
    error: OwnedFd,
    input: Mutex<Input>,
    /// Told when a reader has found nothing.
    pub wanted: EventFd,
    /// The guest's interrupt line for input.
    pub arrived: EventFd,
}

#[derive(Debug, Default)]
struct Input {
    ready: VecDeque<u8>,
    /// A reader waits.
    wanted: bool,
    ended: bool,
}

/// Frames input as the kernel takes it (docs/boot-protocol.md, `stdin=framed`).
fn frame(bytes: &[u8], framed: &mut VecDeque<u8>) {
    for &byte in bytes {
        if matches!(byte, END_OF_TRANSMISSION | DATA_LINK_ESCAPE) {
            framed.push_back(DATA_LINK_ESCAPE);
        }
        framed.push_back(byte);
    }
}

impl Console {
    /// This process's own streams; with `file`, output and error go there.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn new(file: Option<&Path>) -> Result<Console> {
        let (output, error) = match file {
            Some(path) => {
                let make = || format!("cannot make {}", path.display());
                let file = File::create(path).with_context(make)?;
                (file.try_clone()?.into(), file.into())
            }
            None => (
                fcntl_dupfd_cloexec(stdout(), 0).context("there is no standard output")?,
                fcntl_dupfd_cloexec(stderr(), 0).context("there is no standard error")?,
            ),
        };
        Ok(Console { output, error, input: Mutex::default(), wanted: event()?, arrived: event()? })
    }

    /// The digits of the streams that are terminals.
    pub fn terminals(&self) -> String {
        let streams = [stdin(), self.output.as_fd(), self.error.as_fd()];
        let streams = streams.into_iter().enumerate();
        streams
            .filter(|(_, stream)| rustix::termios::isatty(stream))
            .map(|(number, _)| number.to_string())
            .collect()
    }

    /// Writes a part of the guest's memory to stream 1 or 2.
    ///
    /// # Errors
    ///
    /// Those of `write(2)`; `EFAULT` where there is no memory.
    pub fn write(
        &self,
        stream: i32,
        memory: &Memory,
        mut address: u64,
        length: u64,
    ) -> Result<(), Errno> {
        let mut target = if stream == 2 { self.error.as_fd() } else { self.output.as_fd() };
        if !memory.contains(address, length) {
            return Err(Errno::FAULT);
        }
        let mut left = length as usize;
        while left > 0 {
            let written = memory.map().write_volatile_to(GuestAddress(address), &mut target, left);
            match written.map_err(|error| code(&error)) {
                Ok(0) => return Err(Errno::IO),
                Ok(written) => {
                    address += written as u64;
                    left -= written;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::new(&target, PollFlags::OUT)], None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes bytes to standard output.
    pub fn put(&self, bytes: &[u8]) {
        let _ = rustix::io::write(&self.output, bytes);
    }

    /// Gives a reader what has come in, at most `most` bytes, without waiting. When that is nothing, the
    /// interrupt comes as soon as there is something.
    pub fn take(&self, most: usize) -> Vec<u8> {
        let mut input = self.input.lock();
        let length = input.ready.len().min(most);
        if length == 0 && !input.ended && !input.wanted {
            input.wanted = true;
            let _ = self.wanted.write(1);
        }
        input.ready.drain(..length).collect()
    }

    /// Standard input, when a reader waits for it.
    pub fn source(&self) -> Option<BorrowedFd<'static>> {
        self.input.lock().wanted.then(stdin)
    }

    /// Reads what has come in on standard input, and tells the guest.
    pub fn receive(&self) {
        let mut piece = vec![0; PIECE];
        let got = rustix::io::read(stdin(), &mut piece[..]);
        let mut input = self.input.lock();
        match got {
            Err(Errno::INTR | Errno::AGAIN) => return,
            Ok(0) | Err(_) => {
                input.ready.push_back(END_OF_TRANSMISSION);
                input.ended = true;
            }
            Ok(length) => frame(&piece[..length], &mut input.ready),
        }
        input.wanted = false;
        let _ = self.arrived.write(1);
    }
}

/// The error of Linux's that is behind one of a memory access.
pub(crate) fn code(error: &GuestMemoryError) -> Errno {
    match error {
        GuestMemoryError::IOError(error) => Errno::from_io_error(error).unwrap_or(Errno::IO),
        _ => Errno::FAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_framed() {
        let mut framed = VecDeque::new();
        frame(b"a\x04b\x10c", &mut framed);
        assert_eq!(framed.make_contiguous(), b"a\x10\x04b\x10\x10c");
    }

    #[test]
    fn a_part_outside_the_memory_is_an_error() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let console = Console::new(Some(file.path()))?;
        let memory = Memory::new(2 << 20, false)?;
        memory.write(b"hello", 0x1000)?;
        assert_eq!(console.write(1, &memory, 0x1000, 5), Ok(()));
        for (address, length) in
            [(2 << 20, 1), ((2 << 20) - 1, 2), (0, u64::MAX), (u64::MAX, 2), (0x1000, 1 << 40)]
        {
            assert_eq!(
                console.write(1, &memory, address, length),
                Err(Errno::FAULT),
                "{address:#x}"
            );
        }
        assert_eq!(std::fs::read(file.path())?, b"hello");
        Ok(())
    }
}
