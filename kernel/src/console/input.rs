//! How bytes on a serial line become standard input (docs/boot-protocol.md).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::{Error, Result};

const END_OF_TRANSMISSION: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const DATA_LINK_ESCAPE: u8 = 0x10;
const ERASE_LINE: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// What the bytes on the line are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// A human types: lines, echo, editing.
    Terminal,
    /// A pipe: DLE quotes the next byte, EOT is the end.
    Framed,
    /// There is no input.
    None,
    /// Nothing comes over the line: the input is a file that the runner gave to the machine.
    File,
}

/// Standard input on its way from the line to the program.
#[derive(Debug)]
pub struct Input {
    discipline: Discipline,
    started: bool,
    /// Ready for the program.
    ready: VecDeque<u8>,
    /// The line being typed.
    line: Vec<u8>,
    quoted: bool,
    /// The end was received; a terminal's is forgotten when it has been told.
    ended: bool,
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

impl Input {
    /// Nothing received yet; a terminal.
    #[must_use]
    pub const fn new() -> Input {
        Input {
            discipline: Discipline::Terminal,
            started: false,
            ready: VecDeque::new(),
            line: Vec::new(),
            quoted: false,
            ended: false,
        }
    }

    /// The first time, says what the bytes are, and calls `enable` if there are to be any.
    ///
    /// # Errors
    ///
    /// [`Error::NoDevice`] when it gives `false`.
    pub fn start(&mut self, discipline: Discipline, enable: impl FnOnce() -> bool) -> Result<()> {
        if !self.started {
            self.discipline = discipline;
            self.ended = discipline == Discipline::None;
            if !self.ended && !enable() {
                return Err(Error::NoDevice);
            }
            self.started = true;
        }
        Ok(())
    }

    /// Gives the program what is ready: the number of bytes, 0 at the end, `None` when it has to wait.
    pub fn take(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if self.ready.is_empty() {
            let ended = self.ended;
            if self.discipline == Discipline::Terminal {
                self.ended = false;
            }
            return ended.then_some(0);
        }
        let length = buffer.len().min(self.ready.len());
        for (to, from) in buffer.iter_mut().zip(self.ready.drain(..length)) {
            *to = from;
        }
        Some(length)
    }

    /// True when [`Input::take`] would give something, or the end.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ended || !self.ready.is_empty()
    }

    /// Takes in what came over the line. `echo` shows a human what they typed.
    pub fn receive(&mut self, bytes: &[u8], mut echo: impl FnMut(&[u8])) {
        for &byte in bytes {
            match self.discipline {
                Discipline::Framed => self.receive_framed(byte),
                Discipline::Terminal => self.receive_typed(byte, &mut echo),
                Discipline::None | Discipline::File => {}
            }
        }
    }

    fn receive_framed(&mut self, byte: u8) {
        match byte {
            _ if self.ended => {}
            _ if self.quoted => {
                self.quoted = false;
                self.ready.push_back(byte);
            }
            DATA_LINK_ESCAPE => self.quoted = true,
            END_OF_TRANSMISSION => self.ended = true,
            byte => self.ready.push_back(byte),
        }
    }

    fn receive_typed(&mut self, byte: u8, echo: &mut impl FnMut(&[u8])) {
        match byte {
            b'\r' | b'\n' => {
                echo(b"\r\n");
                self.ready.extend(self.line.drain(..));
                self.ready.push_back(b'\n');
            }
            END_OF_TRANSMISSION => {
                // As a Unix terminal: what was typed is delivered; with nothing typed, that is the end.
                self.ended = self.line.is_empty();
                self.ready.extend(self.line.drain(..));
            }
            BACKSPACE | DELETE => {
                if self.erase() {
                    echo(b"\x08 \x08");
                }
            }
            ERASE_LINE => {
                while self.erase() {
                    echo(b"\x08 \x08");
                }
            }
            byte => {
                self.line.push(byte);
                echo(&[byte]);
            }
        }
    }

    /// Takes the last character, of one or more bytes of UTF-8, from the line.
    fn erase(&mut self) -> bool {
        while let Some(byte) = self.line.pop() {
            if byte & 0xc0 != 0x80 {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(input: &mut Input) -> Vec<u8> {
        let mut got = Vec::new();
        let mut buffer = [0; 7];
        while let Some(length @ 1..) = input.take(&mut buffer) {
            got.extend_from_slice(&buffer[..length]);
        }
        got
    }

    #[test]
    fn a_terminal_gives_lines() {
        let mut input = Input::new();
        let mut shown = Vec::new();
        input.receive(b"helo\x08lo", |bytes| shown.extend_from_slice(bytes));
        assert_eq!(input.take(&mut [0; 8]), None);
        input.receive(b"\r", |bytes| shown.extend_from_slice(bytes));
        assert_eq!(all(&mut input), b"hello\n");
        assert_eq!(shown, b"helo\x08 \x08lo\r\n");
    }

    #[test]
    fn a_terminal_ends_on_an_empty_line_and_goes_on() {
        let mut input = Input::new();
        input.receive(b"ab\x04", |_| ());
        assert_eq!(all(&mut input), b"ab");
        assert_eq!(input.take(&mut [0; 8]), None);
        input.receive(b"\x04", |_| ());
        assert_eq!(input.take(&mut [0; 8]), Some(0));
        assert_eq!(input.take(&mut [0; 8]), None);
    }

    #[test]
    fn backspace_takes_a_whole_character() {
        let mut input = Input::new();
        input.receive("aß\x7fb\n".as_bytes(), |_| ());
        assert_eq!(all(&mut input), b"ab\n");
    }

    #[test]
    fn without_input_the_end_is_at_once() {
        let mut input = Input::new();
        assert!(input.start(Discipline::None, || false).is_ok());
        assert_eq!(input.take(&mut [0; 8]), Some(0));
    }

    proptest! {
        /// Whatever a sender frames comes out as it was, followed by the end, in pieces of any size.
        #[test]
        fn framing_is_transparent(data in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x04), Just(0x10)], 0..300), piece in 1usize..40) {
            let mut line = Vec::new();
            for byte in &data {
                if matches!(byte, 0x04 | 0x10) {
                    line.push(0x10);
                }
                line.push(*byte);
            }
            line.push(0x04);
            let mut input = Input::new();
            prop_assert!(input.start(Discipline::Framed, || true).is_ok());
            for piece in line.chunks(piece) {
                input.receive(piece, |_| unreachable!("a pipe has no echo"));
            }
            prop_assert_eq!(all(&mut input), data);
            prop_assert_eq!(input.take(&mut [0; 1]), Some(0));
            prop_assert_eq!(input.take(&mut [0; 1]), Some(0));
        }
    }
}
