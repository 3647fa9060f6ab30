//! The two options of the command line that concern the loader itself.
//!
//! The grammar is that of `docs/boot-protocol.md`: words separated by spaces, double quotes
//! around a word or a part of one, `\"` and `\\` inside them, an end at the word `--`.

use core::fmt::{self, Write as _};

/// Where messages and the exit status go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Debug-console port for messages; COM1 when absent.
    pub stderr: Option<u16>,
    /// Debug-console port for the exit status.
    pub status: Option<u16>,
}

impl Options {
    /// Reads the command line as the kernel gets it. Of an option that occurs twice the last one
    /// counts. One with a wrong value counts as absent: the kernel is the one to complain.
    pub fn parse(command_line: &[u8]) -> Self {
        let mut options = Self::default();
        let mut rest = command_line;
        loop {
            let mut word = Word::start(rest);
            if word.rest.is_empty() || word.clone().eq(*b"--") {
                return options;
            }
            for (name, place) in [("stderr", &mut options.stderr), ("status", &mut options.status)]
            {
                let mut value = word.clone();
                if name.bytes().chain(*b"=").all(|expected| value.next() == Some(expected)) {
                    *place = number(value);
                }
            }
            word.by_ref().for_each(drop);
            rest = word.rest;
        }
    }
}

/// The kernel's part of QEMU's command line: all but the loader's own path, which QEMU puts in
/// front.
pub fn without_first_word(command_line: &[u8]) -> &[u8] {
    match command_line.iter().position(|byte| *byte == b' ') {
        Some(space) => command_line.get(space + 1..).unwrap_or_default(),
        None => &[],
    }
}

/// Reads a port number, decimal or with `0x`.
fn number(mut digits: Word<'_>) -> Option<u16> {
    let mut value = 0u32;
    let mut base = 10;
    let mut count = 0;
    let mut ahead = digits.clone();
    if ahead.next() == Some(b'0') && matches!(ahead.next(), Some(b'x' | b'X')) {
        base = 16;
        digits = ahead;
    }
    for byte in digits {
        value = value * base + char::from(byte).to_digit(base)?;
        u16::try_from(value).ok()?;
        count += 1;
    }
    u16::try_from(value).ok().filter(|port| *port != 0 && count > 0)
}

/// A word as it has to be written on the command line: in quotes where it needs them.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.0;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=+,@%^~".contains(c);
        if !word.is_empty() && word.chars().all(plain) && word != "--" {
            return out.write_str(word);
        }
        out.write_char('"')?;
        for c in word.chars() {
            if matches!(c, '"' | '\\') {
                out.write_char('\\')?;
            }
            out.write_char(c)?;
        }
        out.write_char('"')
    }
}

/// Gives the bytes of one word, without its quotes.
#[derive(Clone)]
pub(crate) struct Word<'a> {
    /// What follows the bytes that were given.
    pub(crate) rest: &'a [u8],
    quoted: bool,
}

impl<'a> Word<'a> {
    /// The first word of `line`.
    pub(crate) fn start(line: &'a [u8]) -> Self {
        Self { rest: line.trim_ascii_start(), quoted: false }
    }
}

impl Iterator for Word<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            match byte {
                b'"' => {
                    self.quoted = !self.quoted;
                    self.rest = rest;
                }
                b'\\' if self.quoted && matches!(rest.first(), Some(b'"' | b'\\')) => {
                    let (&escaped, rest) = rest.split_first()?;
                    self.rest = rest;
                    return Some(escaped);
                }
                byte if byte.is_ascii_whitespace() && !self.quoted => return None,
                byte => {
                    self.rest = rest;
                    return Some(byte);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Options {
        Options::parse(line.as_bytes())
    }

    #[test]
    fn words_are_quoted_where_needed() {
        for (word, written) in [
            ("--jobs=4", "--jobs=4"),
            ("", r#""""#),
            ("--", r#""--""#),
            ("a b", r#""a b""#),
            (r#"say "hi\""#, r#""say \"hi\\\"""#),
        ] {
            assert_eq!(Quoted(word).to_string(), written);
        }
    }

    #[test]
    fn both_options_are_found() {
        let options = read("name=hello stderr=0xe9 env=A=1 status=1282 -- stderr=7");
        assert_eq!(options, Options { stderr: Some(0xe9), status: Some(1282) });
    }

    #[test]
    fn quotes_hide_what_they_hold() {
        assert_eq!(read(r#"env="A=b \" stderr=7 \\" env=C="x status=9""#), Options::default());
        assert_eq!(read(r#"std"err=0x"e9"#).stderr, Some(0xe9));
        assert_eq!(read("env=A=stderr=7").stderr, None);
    }

    #[test]
    fn what_follows_two_dashes_is_the_program_s() {
        assert_eq!(read("-- stderr=7 status=x"), Options::default());
        assert_eq!(read(""), Options::default());
        assert_eq!(read("   "), Options::default());
    }

    #[test]
    fn wrong_ports_count_as_absent() {
        for line in ["stderr=", "stderr=0", "stderr=0x", "stderr=65536", "stderr=12a", "stderr=-1"]
        {
            assert_eq!(read(line), Options::default(), "{line}");
        }
    }

    #[test]
    fn the_loader_s_path_goes() {
        assert_eq!(without_first_word(b"/a/loader log=debug -- x"), b"log=debug -- x");
        assert_eq!(without_first_word(b"/a/loader"), b"");
    }

    proptest! {
        #[test]
        fn any_line_ends(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Options::parse(&line);
        }
    }
}
