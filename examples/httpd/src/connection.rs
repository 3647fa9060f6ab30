//! A connection: requests are read one after the other, and replied to.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::pattern;
use crate::request::{Body, Request, chunk_length, head_length, number};
use crate::sha256::Sha256;

/// A head is no longer than this.
const HEAD: usize = 8 << 10;
/// Bodies go through in pieces of this size.
const PIECE: usize = 32 << 10;

const HELLO: &[u8] = b"Hello, world!\n";

/// How many requests are answered before the process ends.
pub struct Limit(Option<AtomicU64>);

impl Limit {
    /// So many, or any number.
    pub fn new(requests: Option<u64>) -> Limit {
        Limit(requests.map(AtomicU64::new))
    }

    /// Counts a request; says whether it was the last one.
    fn reached(&self) -> bool {
        let left = self.0.as_ref();
        left.is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) <= 1)
    }
}

/// A client's connection.
pub struct Connection {
    stream: TcpStream,
    /// What was received; the bytes in `start..end` are not used yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The head of the reply.
    reply: Vec<u8>,
}

/// What happens after a reply.
enum Next {
    Request,
    Close,
}

impl Connection {
    /// Takes a connection whose peer may be silent for so long.
    pub fn new(stream: TcpStream, silence: Duration) -> io::Result<Connection> {
        stream.set_read_timeout(Some(silence))?;
        stream.set_write_timeout(Some(silence))?;
        // A reply leaves at once, whether the last one was acknowledged or not.
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            buffer: vec![0; 2 << 10],
            start: 0,
            end: 0,
            reply: Vec::with_capacity(256),
        })
    }

    /// Answers requests until one side closes.
    pub fn serve(&mut self, limit: &Limit) -> io::Result<()> {
        while let Some(length) = self.head()? {
            let head = self.start..self.start + length;
            self.start = head.end;
            let request = Request::parse(&self.buffer[head.clone()]);
            let Ok(request) = request else {
                return self.refuse(b"400 Bad Request");
            };
            let (body, keep_alive) = (request.body, request.keep_alive);
            let action = Action::of(&request);
            if request.waits && body != Body::Length(0) {
                self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let connection: &[u8] = match (keep_alive, request.say_keep_alive) {
                (true, true) => b"\r\nConnection: keep-alive",
                (true, false) => b"",
                (false, _) => b"\r\nConnection: close",
            };
            let next = self.answer(action, body, connection)?;
            if limit.reached() {
                // The client has the reply when it closes, too.
                let _ = self.close();
                process::exit(0);
            }
            if !keep_alive || matches!(next, Next::Close) {
                break;
            }
        }
        self.close()
    }

    /// The length of the next head; `None` when the peer has closed instead.
    fn head(&mut self) -> io::Result<Option<usize>> {
        let mut seen = 0;
        loop {
            if let Some(length) = head_length(&self.buffer[self.start..self.end], seen) {
                return Ok(Some(length));
            }
            seen = self.end - self.start;
            if seen >= HEAD {
                self.refuse(b"431 Request Header Fields Too Large")?;
                return Ok(None);
            }
            if self.receive()? == 0 {
                return Ok(None);
            }
        }
    }

    /// Receives more; 0 when the peer sends no more.
    fn receive(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                self.buffer.resize(2 * self.end, 0);
            }
        }
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
            }
        }
    }

    fn answer(&mut self, action: Action, body: Body, connection: &[u8]) -> io::Result<Next> {
        match action {
            Action::Hello { head } => {
                self.body(body, |_, _| Ok(()))?;
                self.begin(b"200 OK", connection, HELLO.len() as u64);
                if !head {
                    self.reply.extend_from_slice(HELLO);
                }
                self.stream.write_all(&self.reply)?;
            }
            Action::Bytes { length, head } => {
                self.body(body, |_, _| Ok(()))?;
                self.begin(b"200 OK", connection, length);
                self.stream.write_all(&self.reply)?;
                if !head {
                    self.send_pattern(length)?;
                }
            }
            Action::Digest => {
                let mut digest = Sha256::new();
                self.body(body, |_, bytes| {
                    digest.update(bytes);
                    Ok(())
                })?;
                let mut text = [b'\n'; 65];
                text[..64].copy_from_slice(&digest.hex());
                self.begin(b"200 OK", connection, text.len() as u64);
                self.reply.extend_from_slice(&text);
                self.stream.write_all(&self.reply)?;
            }
            Action::Count => {
                let mut count = 0;
                self.body(body, |_, bytes| {
                    count += bytes.len() as u64;
                    Ok(())
                })?;
                let (digits, at) = decimal(count);
                self.begin(b"200 OK", connection, (digits.len() - at) as u64 + 1);
                self.reply.extend_from_slice(&digits[at..]);
                self.reply.push(b'\n');
                self.stream.write_all(&self.reply)?;
            }
            Action::Echo => match body {
                Body::Length(length) => {
                    self.begin(b"200 OK", connection, length);
                    self.stream.write_all(&self.reply)?;
                    self.body(body, |mut stream, bytes| stream.write_all(bytes))?;
                }
                // The length is not known, so the reply ends with the connection.
                Body::Chunked => {
                    self.stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                    self.body(body, |mut stream, bytes| stream.write_all(bytes))?;
                    return Ok(Next::Close);
                }
            },
            Action::Refuse(status) => {
                self.body(body, |_, _| Ok(()))?;
                self.begin(status, connection, 0);
                self.stream.write_all(&self.reply)?;
            }
        }
        Ok(Next::Request)
    }

    /// Writes the head of a reply.
    fn begin(&mut self, status: &[u8], connection: &[u8], length: u64) {
        self.reply.clear();
        for part in [
            b"HTTP/1.1 ",
            status,
            connection,
            b"\r\nContent-Type: application/octet-stream\r\nContent-Length: ",
        ] {
            self.reply.extend_from_slice(part);
        }
        let (digits, at) = decimal(length);
        self.reply.extend_from_slice(&digits[at..]);
        self.reply.extend_from_slice(b"\r\n\r\n");
    }

    fn send_pattern(&mut self, length: u64) -> io::Result<()> {
        let mut piece = vec![0; PIECE.min(length as usize)];
        let mut sent = 0;
        while sent < length {
            let count = (length - sent).min(PIECE as u64);
            let part = &mut piece[..count as usize];
            pattern::fill(part, sent);
            self.stream.write_all(part)?;
            sent += count;
        }
        Ok(())
    }

    /// Hands the request's body on, piece by piece, with the stream it came from.
    fn body(
        &mut self,
        body: Body,
        mut take: impl FnMut(&TcpStream, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        match body {
            Body::Length(0) => Ok(()),
            Body::Length(length) => self.part(length, &mut take),
            Body::Chunked => loop {
                let line = self.line()?;
                let length = chunk_length(&line).ok_or(ErrorKind::InvalidData)?;
                if length == 0 {
                    // Trailers, and the empty line behind them.
                    while !self.line()?.is_empty() {}
                    return Ok(());
                }
                self.part(length, &mut take)?;
                if !self.line()?.is_empty() {
                    return Err(ErrorKind::InvalidData.into());
                }
            },
        }
    }

    fn part(
        &mut self,
        length: u64,
        take: &mut impl FnMut(&TcpStream, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut left = length;
        if left > self.buffer.len() as u64 && self.buffer.len() < PIECE {
            self.buffer.resize(PIECE, 0);
        }
        while left > 0 {
            if self.start == self.end && self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let count = left.min((self.end - self.start) as u64) as usize;
            take(&self.stream, &self.buffer[self.start..self.start + count])?;
            self.start += count;
            left -= count as u64;
        }
        Ok(())
    }

    /// A line without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let bytes = &self.buffer[self.start..self.end];
            if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
                let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
                let line = line.to_vec();
                self.start += end + 1;
                return Ok(line);
            }
            if bytes.len() > HEAD {
                return Err(ErrorKind::InvalidData.into());
            }
            if self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Tells the peer what is wrong, and closes.
    fn refuse(&mut self, status: &[u8]) -> io::Result<()> {
        self.begin(status, b"\r\nConnection: close", 0);
        self.stream.write_all(&self.reply)?;
        self.close()
    }

    /// Closes so that the peer gets all of the reply: what it still sends is taken first, within reason.
    fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        for _ in 0..16 {
            (self.start, self.end) = (0, 0);
            if self.receive()? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// A number's digits, from the returned place on.
fn decimal(number: u64) -> ([u8; 20], usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return (digits, at);
        }
    }
}

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Hello { head: bool },
    Bytes { length: u64, head: bool },
    Count,
    Echo,
    Digest,
    Refuse(&'static [u8]),
}

impl Action {
    fn of(request: &Request<'_>) -> Action {
        let head = request.method == b"HEAD";
        let (get, post) = (
            head || request.method == b"GET",
            request.method == b"POST" || request.method == b"PUT",
        );
        let path = request.target.split(|&byte| byte == b'?').next();
        let path = path.unwrap_or_default();
        let length = || path.strip_prefix(b"/bytes/").and_then(number);
        let not_allowed = Action::Refuse(b"405 Method Not Allowed");
        match path {
            b"/" if get => Action::Hello { head },
            b"/count" if post => Action::Count,
            b"/echo" if post => Action::Echo,
            b"/sha256" if post => Action::Digest,
            b"/" | b"/count" | b"/echo" | b"/sha256" => not_allowed,
            _ => match length() {
                Some(length) if get => Action::Bytes { length, head },
                Some(_) => not_allowed,
                None => Action::Refuse(b"404 Not Found"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written() {
        for number in [0, 9, 10, u64::MAX] {
            let (digits, at) = decimal(number);
            assert_eq!(digits[at..], *number.to_string().as_bytes());
        }
    }

    #[test]
    fn paths_have_their_actions() {
        let action = |line: &str| {
            let head = format!("{line} HTTP/1.1\r\n\r\n");
            Action::of(&Request::parse(head.as_bytes()).unwrap())
        };
        assert_eq!(action("GET /"), Action::Hello { head: false });
        assert_eq!(action("HEAD /?x"), Action::Hello { head: true });
        assert_eq!(action("GET /bytes/12"), Action::Bytes { length: 12, head: false });
        assert_eq!(action("POST /echo"), Action::Echo);
        assert_eq!(action("PUT /sha256"), Action::Digest);
        assert!(
            matches!(action("GET /echo"), Action::Refuse(status) if status.starts_with(b"405"))
        );
        assert!(matches!(action("GET /x"), Action::Refuse(status) if status.starts_with(b"404")));
    }
}
