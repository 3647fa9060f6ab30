//! The head of a request (RFC 9112): what the server needs of it, and nothing else.

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// After so many bytes.
    Length(u64),
    /// With a chunk of length 0.
    Chunked,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a [u8],
    /// The path, with what follows it.
    pub target: &'a [u8],
    /// How its body ends.
    pub body: Body,
    /// Whether the connection stays open afterwards.
    pub keep_alive: bool,
    /// Whether this has to be said: HTTP/1.0 does not expect it.
    pub say_keep_alive: bool,
    /// Whether the client waits for leave to send its body.
    pub waits: bool,
}

/// Why a head is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The length of the head at the beginning of `bytes`, with its empty line, when it is complete. `seen`
/// bytes were looked at before.
pub fn head_length(bytes: &[u8], seen: usize) -> Option<usize> {
    let mut at = seen.saturating_sub(3);
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == b'\n')? + 1;
        match bytes.get(at..) {
            Some([b'\r', b'\n', ..]) => return Some(at + 2),
            Some([b'\n', ..]) => return Some(at + 1),
            _ => {}
        }
    }
}

impl<'a> Request<'a> {
    /// Reads a head.
    pub fn parse(head: &'a [u8]) -> Result<Request<'a>, Malformed> {
        let mut lines =
            head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut words = lines.next().ok_or(Malformed)?.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Malformed);
        };
        let modern = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            _ => return Err(Malformed),
        };
        if method.is_empty()
            || !method.iter().all(u8::is_ascii_uppercase)
            || !target.starts_with(b"/")
        {
            return Err(Malformed);
        }
        let mut request = Request {
            method,
            target,
            body: Body::Length(0),
            keep_alive: modern,
            say_keep_alive: !modern,
            waits: false,
        };
        let mut length = None;
        for line in lines.take_while(|line| !line.is_empty()) {
            let colon = line.iter().position(|&byte| byte == b':').ok_or(Malformed)?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            // By the length first: most headers are none of these.
            match name.len() {
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                        if option.eq_ignore_ascii_case(b"close") {
                            request.keep_alive = false;
                        } else if option.eq_ignore_ascii_case(b"keep-alive") {
                            request.keep_alive = true;
                        }
                    }
                }
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    let number = number(value).ok_or(Malformed)?;
                    if length.is_some_and(|other| other != number) {
                        return Err(Malformed);
                    }
                    length = Some(number);
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    if !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Malformed);
                    }
                    request.body = Body::Chunked;
                }
                6 if name.eq_ignore_ascii_case(b"expect") => {
                    request.waits = value.eq_ignore_ascii_case(b"100-continue");
                }
                _ => {}
            }
        }
        if let Some(length) = length {
            // Both is an attempt to make two servers disagree (RFC 9112, section 6.1).
            if request.body == Body::Chunked {
                return Err(Malformed);
            }
            request.body = Body::Length(length);
        }
        Ok(request)
    }
}

/// A decimal number without a sign.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| sum.checked_mul(10)?.checked_add(digit.into()))?
    })
}

/// A chunk's length from its line, which may have an extension (RFC 9112, section 7.1).
pub fn chunk_length(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u64, |sum, &byte| Some(sum << 4 | u64::from(char::from(byte).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest";
        for seen in [0, 5, 20, 23] {
            assert_eq!(head_length(head, seen), Some(head.len() - 4), "{seen}");
        }
        assert_eq!(head_length(b"GET / HTTP/1.1\r\n\r", 0), None);
        assert_eq!(head_length(b"a\n\nb", 0), Some(3));
        assert_eq!(head_length(b"", 0), None);
    }

    #[test]
    fn what_matters_is_read() {
        let head =
            b"POST /echo HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 12\r\nExpect: 100-continue\r\n\r\n";
        let request = Request::parse(head).unwrap();
        assert_eq!((request.method, request.target), (&b"POST"[..], &b"/echo"[..]));
        assert_eq!(
            (request.body, request.keep_alive, request.waits),
            (Body::Length(12), true, true)
        );
        let old = Request::parse(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert!(!old.keep_alive);
        let old = Request::parse(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap();
        assert!(old.keep_alive && old.say_keep_alive);
        let last = Request::parse(b"GET / HTTP/1.1\r\nConnection: upgrade, close\r\n\r\n").unwrap();
        assert!(!last.keep_alive);
        let chunked =
            Request::parse(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert_eq!(chunked.body, Body::Chunked);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for head in [
            &b""[..],
            b"GET /\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"get / HTTP/1.1\r\n\r\n",
            b"GET x HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        ] {
            assert_eq!(Request::parse(head), Err(Malformed), "{:?}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn numbers_are_read() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!(number(b""), None);
        assert_eq!(number(b"+1"), None);
        assert_eq!(chunk_length(b"1aF;x=y"), Some(0x1af));
        assert_eq!(chunk_length(b""), None);
        assert_eq!(chunk_length(b"g"), None);
        assert_eq!(chunk_length(b"1111111111111111"), None);
    }
}
