//! Text made piece by piece, without the formatting machinery of core.

use alloc::vec::Vec;

use crate::{Error, Result};

/// A text that grows. When memory is short it remembers that, and [`Text::finish`] tells.
#[derive(Debug, Default)]
pub struct Text {
    bytes: Vec<u8>,
    broken: bool,
}

impl Text {
    /// No text yet.
    #[must_use]
    pub const fn new() -> Text {
        Text { bytes: Vec::new(), broken: false }
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Text {
        if self.bytes.try_reserve(bytes.len()).is_ok() {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.broken = true;
        }
        self
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) -> &mut Text {
        self.bytes(text.as_bytes())
    }

    /// Adds a number, with `fill` before it until it is `width` characters long.
    pub fn padded(&mut self, mut number: u64, width: usize, fill: u8) -> &mut Text {
        const LONGEST: usize = 20;
        let mut digits = [fill; LONGEST];
        let mut start = LONGEST;
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.bytes(&digits[start.min(LONGEST - width.min(LONGEST))..])
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) -> &mut Text {
        self.padded(number, 1, b' ')
    }

    /// The text.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn finish(self) -> Result<Vec<u8>> {
        if self.broken {
            return Err(Error::OutOfMemory);
        }
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_wide_as_asked() {
        let mut text = Text::new();
        text.number(0).text("|").padded(42, 5, b' ').text("|");
        text.padded(7, 2, b'0').text("|").padded(12345, 3, b' ');
        text.text("|").number(u64::MAX);
        assert_eq!(text.finish().unwrap(), format!("0|   42|07|12345|{}", u64::MAX).as_bytes());
    }
}
