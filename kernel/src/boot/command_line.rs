//! The command line: the kernel's options, `--`, the program's arguments.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The words of a command line, with quotes and backslashes taken away.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// The words of `line`.
    #[must_use]
    pub const fn new(line: &'a str) -> Words<'a> {
        Words { rest: line }
    }
}

impl<'a> Words<'a> {
    /// The next word as it is written, quotes and backslashes included. Takes no memory, so it serves
    /// before there is a heap. A quote that is never closed ends with the line.
    pub fn next_raw(&mut self) -> Option<&'a str> {
        let mut line = self.rest;
        while let Some(rest) = line.strip_prefix(' ') {
            line = rest;
        }
        let mut quoted = false;
        let mut end = 0;
        // What is looked for is never a part of another character.
        while let Some(byte) = line.as_bytes().get(end) {
            match byte {
                b'"' => quoted = !quoted,
                b'\\' if quoted => end += 1,
                b' ' if !quoted => break,
                _ => {}
            }
            end += 1;
        }
        let (word, rest) = line.split_at_checked(end).unwrap_or((line, ""));
        self.rest = rest;
        (end > 0).then_some(word)
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Cow<'a, str>;

    /// The next word. Without quotes in it, it is a part of the line and takes no memory.
    fn next(&mut self) -> Option<Cow<'a, str>> {
        let raw = self.next_raw()?;
        if !raw.as_bytes().contains(&b'"') {
            return Some(Cow::Borrowed(raw));
        }
        let mut word = Vec::new();
        let mut quoted = false;
        let mut bytes = raw.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => quoted = !quoted,
                b'\\' if quoted => word.extend(bytes.next()),
                byte => word.push(byte),
            }
        }
        // SAFETY: a text without some of its ASCII characters.
        Some(Cow::Owned(unsafe { String::from_utf8_unchecked(word) }))
    }
}

/// An option's name and its value: what stands before the first `=`, and behind it.
#[inline(never)]
#[must_use]
pub fn option(word: &str) -> Option<(&str, &str)> {
    let at = word.bytes().position(|byte| byte == b'=')?;
    Some((word.get(..at)?, word.get(at + 1..)?))
}

/// Reads a port number: decimal, or hexadecimal behind `0x`. `None` also for port 0, which is none.
#[must_use]
pub fn port(text: &str) -> Option<u16> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let number = u16::from_str_radix(digits, radix);
    number.ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        Words::new(line).map(Cow::into_owned).collect()
    }

    #[test]
    fn words_are_split_at_spaces() {
        assert_eq!(words("  a bc   d "), ["a", "bc", "d"]);
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words("   "), [""; 0]);
    }

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(words(r#"env="A=b c" x"#), ["env=A=b c", "x"]);
        assert_eq!(words(r#""" "a"b"c""#), ["", "abc"]);
        assert_eq!(words(r#""say \"hi\" \\ ""#), [r#"say "hi" \ "#]);
        assert_eq!(words("\"line\nbreak\""), ["line\nbreak"]);
        assert_eq!(words(r#"a\b"#), [r"a\b"]);
        assert_eq!(words(r#""open"#), ["open"]);
    }

    #[test]
    fn raw_words_end_where_words_end() {
        let mut raw = Words::new(r#" a "b \" c"d  "" -- "#);
        let found = core::array::from_fn(|_| raw.next_raw());
        assert_eq!(found, [Some("a"), Some(r#""b \" c"d"#), Some(r#""""#), Some("--"), None]);
    }

    #[test]
    fn options_have_a_name_and_a_value() {
        assert_eq!(option("env=A=1"), Some(("env", "A=1")));
        assert_eq!(option("="), Some(("", "")));
        assert_eq!(option("log"), None);
    }

    #[test]
    fn ports_are_numbers() {
        assert_eq!(port("0xe9"), Some(0xe9));
        assert_eq!(port("1025"), Some(1025));
        assert_eq!(port("0"), None);
        assert_eq!(port("0x10000"), None);
        assert_eq!(port("COM1"), None);
    }

    proptest! {
        /// What is quoted as the protocol says comes out as it was.
        #[test]
        fn quoting_is_transparent(arguments in prop::collection::vec(any::<String>(), 0..6)) {
            let line: Vec<String> = arguments.iter()
                .map(|argument| format!("\"{}\"", argument.replace('\\', "\\\\").replace('"', "\\\"")))
                .collect();
            prop_assert_eq!(words(&line.join(" ")), arguments);
        }

        #[test]
        fn nothing_makes_it_panic(line in any::<String>()) {
            let _ = words(&line);
        }
    }
}
