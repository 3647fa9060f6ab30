//! A reader of TOML 1.1 (toml.io) that needs no memory of its own: it walks over a document and gives each
//! key and value as it comes.
//!
//! The loader has 60 kB for everything, of which the parser that Hermit's tools use would take half. Strings,
//! keys and the structure are checked in full; of numbers and dates no more than that they look like one.

/// How deep arrays and tables may be nested.
const DEPTH: usize = 16;

/// The document is not TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

type Result<T = ()> = core::result::Result<T, Invalid>;

/// What a walk over a document meets.
pub trait Visitor {
    /// A table's header begins: keys for all that follows come next.
    fn header(&mut self);
    /// The header is complete. In an array of tables, each is a table without a name of its own.
    fn header_ends(&mut self, array: bool);
    /// A key begins, below those that have not ended yet.
    fn key(&mut self);
    /// A part of a key's name, without quotes and escapes.
    fn key_part(&mut self, part: &[u8]);
    /// The last `count` keys end.
    fn keys_end(&mut self, count: usize);
    /// A value begins.
    fn value(&mut self, kind: Kind<'_>);
    /// A part of a string, without quotes and escapes.
    fn string_part(&mut self, part: &[u8]);
    /// The string is complete.
    fn string_ends(&mut self);
    /// An array or a table is complete.
    fn container_ends(&mut self);
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A string, whose parts come next.
    String,
    /// An array, whose values come next.
    Array,
    /// A table, whose keys come next.
    Table,
    /// A number, a date or a truth value as it is written.
    Other(&'a [u8]),
}

/// Walks over a document.
///
/// # Errors
///
/// [`Invalid`], after everything before that has been given.
pub fn walk(text: &str, visitor: &mut dyn Visitor) -> Result {
    let mut walk = Walk { rest: text.as_bytes(), visitor };
    loop {
        walk.blank(true)?;
        match walk.rest.first() {
            None => return Ok(()),
            Some(b'[') => walk.header()?,
            Some(_) => walk.pair(0)?,
        }
        walk.blank(false)?;
        match walk.rest.first() {
            None | Some(b'\n') => {}
            _ => return Err(Invalid),
        }
    }
}

struct Walk<'a, 'v> {
    rest: &'a [u8],
    visitor: &'v mut dyn Visitor,
}

impl<'a> Walk<'a, '_> {
    fn take(&mut self, expected: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn need(&mut self, expected: &[u8]) -> Result {
        if self.take(expected) { Ok(()) } else { Err(Invalid) }
    }

    /// Takes as many bytes as are of a kind.
    fn run(&mut self, of: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !of(*byte));
        let (run, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        run
    }

    /// Steps over white space and comments, and over line breaks as well.
    fn blank(&mut self, lines: bool) -> Result {
        loop {
            self.run(|byte| matches!(byte, b' ' | b'\t'));
            if self.take(b"#") {
                self.run(is_text);
            }
            // A carriage return belongs to a line break.
            if self.rest.starts_with(b"\r\n") {
                self.rest = self.rest.get(1..).unwrap_or_default();
            }
            if !lines || !self.take(b"\n") {
                return Ok(());
            }
        }
    }

    fn header(&mut self) -> Result {
        self.need(b"[")?;
        let array = self.take(b"[");
        self.visitor.header();
        self.keys()?;
        self.need(if array { b"]]" } else { b"]" })?;
        self.visitor.header_ends(array);
        Ok(())
    }

    /// Keys with dots between them; gives how many there are.
    fn keys(&mut self) -> Result<usize> {
        let mut count = 0;
        loop {
            self.blank(false)?;
            self.visitor.key();
            count += 1;
            match self.rest.first() {
                Some(b'"' | b'\'') => self.string(true)?,
                _ => {
                    let name = self
                        .run(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
                    if name.is_empty() {
                        return Err(Invalid);
                    }
                    self.visitor.key_part(name);
                }
            }
            self.blank(false)?;
            if !self.take(b".") {
                return Ok(count);
            }
        }
    }

    fn pair(&mut self, depth: usize) -> Result {
        let count = self.keys()?;
        self.need(b"=")?;
        self.blank(false)?;
        self.value(depth)?;
        self.visitor.keys_end(count);
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result {
        if depth > DEPTH {
            return Err(Invalid);
        }
        match self.rest.first() {
            Some(b'"' | b'\'') => {
                self.visitor.value(Kind::String);
                self.string(false)?;
                self.visitor.string_ends();
                return Ok(());
            }
            Some(b'[') => {
                self.visitor.value(Kind::Array);
                self.list(b"[", b"]", &mut |walk| walk.value(depth + 1))?;
            }
            Some(b'{') => {
                self.visitor.value(Kind::Table);
                self.list(b"{", b"}", &mut |walk| walk.pair(depth + 1))?;
            }
            _ => return self.other(),
        }
        self.visitor.container_ends();
        Ok(())
    }

    /// Items with commas between them, and perhaps one behind them.
    fn list(
        &mut self,
        open: &[u8],
        close: &[u8],
        item: &mut dyn FnMut(&mut Self) -> Result,
    ) -> Result {
        self.need(open)?;
        loop {
            self.blank(true)?;
            if self.take(close) {
                return Ok(());
            }
            item(self)?;
            self.blank(true)?;
            if !self.take(b",") {
                return self.need(close);
            }
        }
    }

    fn other(&mut self) -> Result {
        let of = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'_' | b'.' | b':')
        };
        let text = self.run(of);
        let unsigned = match text {
            [b'+' | b'-', rest @ ..] => rest,
            text => text,
        };
        let looks_right = matches!(text, b"true" | b"false")
            || matches!(unsigned, b"inf" | b"nan")
            || unsigned.first().is_some_and(u8::is_ascii_digit);
        if !looks_right {
            return Err(Invalid);
        }
        // A space may stand between a date and a time.
        if text.get(4) == Some(&b'-')
            && let [b' ', b'0'..=b'9', ..] = self.rest
        {
            self.rest = self.rest.get(1..).unwrap_or_default();
            self.run(of);
        }
        self.visitor.value(Kind::Other(text));
        Ok(())
    }

    fn give(&mut self, key: bool, part: &[u8]) {
        if key {
            self.visitor.key_part(part);
        } else {
            self.visitor.string_part(part);
        }
    }

    /// A string in any kind of quotes; a key has no line breaks.
    fn string(&mut self, key: bool) -> Result {
        let mark = self.rest.first().copied().unwrap_or_default();
        let long = match self.run_of(mark, 3) {
            2 => return Ok(()),
            3 if key => return Err(Invalid),
            quotes => quotes == 3,
        };
        if long && !self.take(b"\n") {
            self.take(b"\r\n");
        }
        loop {
            let escapes = mark == b'"';
            let part =
                self.run(|byte| is_text(byte) && byte != mark && !(escapes && byte == b'\\'));
            self.give(key, part);
            let quotes = self.run_of(mark, if long { 5 } else { 1 });
            if quotes > 0 {
                // Up to two may stand before the three that end a long string.
                let inside = match quotes {
                    _ if !long => return Ok(()),
                    3.. => quotes - 3,
                    _ => quotes,
                };
                self.give(key, [mark; 2].get(..inside).unwrap_or_default());
                if quotes >= 3 {
                    return Ok(());
                }
            } else if escapes && self.take(b"\\") {
                self.escape(key, long)?;
            } else if long && (self.take(b"\n") || self.take(b"\r\n")) {
                self.give(key, b"\n");
            } else {
                return Err(Invalid);
            }
        }
    }

    /// Takes up to `most` bytes that are all the same, and counts them.
    fn run_of(&mut self, byte: u8, most: usize) -> usize {
        let count = self.rest.iter().take(most).take_while(|found| **found == byte).count();
        self.rest = self.rest.get(count..).unwrap_or_default();
        count
    }

    fn escape(&mut self, key: bool, long: bool) -> Result {
        let (&letter, rest) = self.rest.split_first().ok_or(Invalid)?;
        let digits = match letter {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let (number, rest) = rest.split_at_checked(digits).ok_or(Invalid)?;
            let number = number.iter().try_fold(0_u32, |value, digit| {
                Some(value << 4 | char::from(*digit).to_digit(16)?)
            });
            let character = number.and_then(char::from_u32).ok_or(Invalid)?;
            self.give(key, character.encode_utf8(&mut [0; 4]).as_bytes());
            self.rest = rest;
            return Ok(());
        }
        let plain: &[u8] = match letter {
            b'b' => b"\x08",
            b't' => b"\t",
            b'n' => b"\n",
            b'f' => b"\x0c",
            b'r' => b"\r",
            b'e' => b"\x1b",
            b'"' => b"\"",
            b'\\' => b"\\",
            b' ' | b'\t' | b'\r' | b'\n' if long => {
                // The line goes on with the next thing that can be seen.
                self.run(|byte| matches!(byte, b' ' | b'\t'));
                if !self.take(b"\n") && !self.take(b"\r\n") {
                    return Err(Invalid);
                }
                loop {
                    self.run(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
                    if !self.take(b"\r\n") {
                        return Ok(());
                    }
                }
            }
            _ => return Err(Invalid),
        };
        self.rest = rest;
        self.give(key, plain);
        Ok(())
    }
}

/// Whether a byte may stand in a comment or a string: no control character but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
