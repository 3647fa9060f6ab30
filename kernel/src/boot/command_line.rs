//! The command line: the kernel's options, `--`, the program's arguments.

use alloc::borrow::Cow;
use alloc::string::String;

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
        let line = self.rest.trim_start_matches(' ');
        let mut quoted = false;
        let mut characters = line.char_indices();
        let end = loop {
            match characters.next() {
                Some((_, '"')) => quoted = !quoted,
                Some((_, '\\')) if quoted => _ = characters.next(),
                Some((at, ' ')) if !quoted => break at,
                Some(_) => {}
                None => break line.len(),
            }
        };
        self.rest = &line[end..];
        (end > 0).then(|| &line[..end])
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Cow<'a, str>;

    /// The next word. Without quotes in it, it is a part of the line and takes no memory.
    fn next(&mut self) -> Option<Cow<'a, str>> {
        let raw = self.next_raw()?;
        if !raw.contains('"') {
            return Some(Cow::Borrowed(raw));
        }
        let mut word = String::new();
        let mut quoted = false;
        let mut characters = raw.chars();
        while let Some(character) = characters.next() {
            match character {
                '"' => quoted = !quoted,
                '\\' if quoted => word.extend(characters.next()),
                character => word.push(character),
            }
        }
        Some(Cow::Owned(word))
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
    let number = match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
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
        assert_eq!(
            found,
            [
                Some("a"),
                Some(r#""b \" c"d"#),
                Some(r#""""#),
                Some("--"),
                None
            ]
        );
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
