//! One line of text, built without the formatting machinery: a line of the kernel must not cost an
//! image ten kilobytes.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something failed.
    Error = 1,
    /// Something is not as it should be.
    Warn,
    /// What the kernel found and decided.
    Info,
    /// How it came to that.
    Debug,
    /// Every step.
    Trace,
}

impl Level {
    const NAMES: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

    /// The level with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Level> {
        const LEVELS: [Level; 5] =
            [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        Self::NAMES.iter().position(|known| *known == name).map(|at| LEVELS[at])
    }
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// Lets lines of this level and above through; none are before the first call.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Relaxed);
}

const CAPACITY: usize = 240;

/// A line under construction. What does not fit is left out.
#[derive(Debug)]
pub struct Line {
    bytes: [u8; CAPACITY],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Line {
        Line { bytes: [0; CAPACITY], length: 0 }
    }

    /// Writes a line to the log, if its level is let through.
    pub fn log(level: Level, build: impl FnOnce(&mut Line)) {
        if LEVEL.load(Relaxed) >= level as u8 {
            let mut line = Line::new();
            line.text("skete: ").text(Level::NAMES[level as usize - 1]).text(": ");
            build(&mut line);
            line.end();
        }
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) -> &mut Line {
        self.bytes(text.as_bytes())
    }

    /// Adds a number in decimal.
    pub fn number(&mut self, mut number: u64) -> &mut Line {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.bytes(&digits[at..])
    }

    /// Adds a number in hexadecimal, as short as it can be.
    pub fn hex(&mut self, number: u64) -> &mut Line {
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
        self.text("0x").hex_digits(number, digits)
    }

    /// Adds a number in hexadecimal with all its 16 digits.
    pub fn hex16(&mut self, number: u64) -> &mut Line {
        self.text("0x").hex_digits(number, 16)
    }

    fn hex_digits(&mut self, number: u64, digits: u32) -> &mut Line {
        for digit in (0..digits).rev() {
            self.bytes(&[b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize]]);
        }
        self
    }

    /// Adds what has a text of its own.
    pub fn display(&mut self, what: impl core::fmt::Display) -> &mut Line {
        // A line takes what it has room for.
        let _ = core::fmt::write(self, format_args!("{what}"));
        self
    }

    /// Adds bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Line {
        let room = CAPACITY - 1 - self.length;
        let bytes = &bytes[..bytes.len().min(room)];
        self.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
        self
    }

    /// What has been added.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Writes the line to the standard error channel.
    pub fn end(&mut self) {
        self.end_to(&mut crate::console::write_error);
    }

    /// Gives the line to `write`, and starts a new one.
    pub fn end_to(&mut self, write: &mut dyn FnMut(&[u8])) {
        self.bytes[self.length] = b'\n';
        write(&self.bytes[..=self.length]);
        self.length = 0;
    }
}

impl core::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.text(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(build: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::new();
        build(&mut line);
        String::from_utf8(line.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn numbers_are_as_format_has_them() {
        for number in [0, 9, 10, 255, 4096, u64::MAX] {
            assert_eq!(built(|line| _ = line.number(number)), format!("{number}"));
            assert_eq!(built(|line| _ = line.hex(number)), format!("{number:#x}"));
            assert_eq!(built(|line| _ = line.hex16(number)), format!("{number:#018x}"));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        assert_eq!(built(|line| _ = line.text(&"x".repeat(1000))).len(), CAPACITY - 1);
    }

    #[test]
    fn levels_have_names() {
        assert_eq!(Level::parse("debug"), Some(Level::Debug));
        assert_eq!(Level::parse("loud"), None);
        assert!(Level::Error < Level::Trace);
    }
}
