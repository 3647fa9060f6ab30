//! A client of HTTP for measurements and tests: it sends what it is told and takes the reply.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long a server may be silent.
pub const SILENCE: Duration = Duration::from_secs(30);

/// How long to wait for a server that may not be there yet, before the next try.
const RETRY: Duration = Duration::from_secs(1);

/// A connection to a server.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// The head of a reply.
#[derive(Debug)]
pub struct Reply {
    /// 200, 404, …
    pub status: u16,
    /// How long the body is.
    pub length: u64,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Client> {
        Client::connect_within(address, SILENCE)
    }

    fn connect_within(address: SocketAddr, limit: Duration) -> Result<Client> {
        let stream = TcpStream::connect_timeout(&address, limit)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::with_capacity(64 << 10, stream) })
    }

    /// Connects to a server that may not be there yet, as long as there is hope.
    pub fn connect_soon(address: SocketAddr, hope: &AtomicBool) -> Result<Client> {
        loop {
            match Client::connect_within(address, RETRY) {
                Ok(client) => return Ok(client),
                Err(error) if !hope.load(Ordering::Relaxed) => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Asks for a path and gives the body; with `close` the server is asked to close afterwards.
    pub fn get(&mut self, path: &str, close: bool) -> Result<Vec<u8>> {
        self.ask("GET", path, 0, close)?;
        self.body_of_success()
    }

    /// Asks for a path, drops the body, and gives its length.
    pub fn drain(&mut self, path: &str) -> Result<u64> {
        self.ask("GET", path, 0, false)?;
        let mut left = self.head()?.length;
        let length = left;
        while left > 0 {
            let count = self.stream.fill_buf()?.len().min(usize::try_from(left)?);
            ensure!(count > 0, "the reply breaks off: {left} of {length} bytes are missing");
            self.stream.consume(count);
            left -= count as u64;
        }
        Ok(length)
    }

    /// Sends so many bytes, made piece by piece, and gives the reply's body.
    pub fn post(
        &mut self,
        path: &str,
        length: u64,
        mut fill: impl FnMut(&mut [u8], u64),
    ) -> Result<Vec<u8>> {
        self.ask("POST", path, length, false)?;
        let mut piece = vec![0; 256 << 10];
        let mut sent = 0;
        while sent < length {
            let count = piece.len().min(usize::try_from(length - sent)?);
            fill(&mut piece[..count], sent);
            self.stream.get_mut().write_all(&piece[..count])?;
            sent += count as u64;
        }
        self.body_of_success()
    }

    /// Waits until the server has closed.
    pub fn closed(mut self) -> Result<()> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(0) => Ok(()),
            Ok(count) => bail!("{count} bytes came behind the reply"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error).context("the server did not close"),
        }
    }

    fn ask(&mut self, method: &str, path: &str, length: u64, close: bool) -> Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: skete\r\n");
        if method == "POST" {
            head += &format!("Content-Length: {length}\r\n");
        }
        if close {
            head += "Connection: close\r\n";
        }
        head += "\r\n";
        self.stream.get_mut().write_all(head.as_bytes()).context("the request cannot be sent")
    }

    fn body_of_success(&mut self) -> Result<Vec<u8>> {
        let reply = self.head()?;
        ensure!(reply.status == 200, "the reply's status is {}", reply.status);
        let mut body = vec![0; usize::try_from(reply.length)?];
        self.stream.read_exact(&mut body).context("the reply breaks off")?;
        Ok(body)
    }

    /// Reads the head of a reply.
    pub fn head(&mut self) -> Result<Reply> {
        let mut line = String::new();
        let (mut status, mut length) = (None, None);
        loop {
            line.clear();
            let count = self.stream.read_line(&mut line).context("there is no reply")?;
            ensure!(count > 0, "the server closed instead of a reply");
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            if status.is_none() {
                let number = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
                let number = number.and_then(|number| number.parse().ok());
                status = Some(number.with_context(|| format!("`{text}` is no reply"))?);
            } else if let Some((name, value)) = text.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.parse().with_context(|| format!("`{text}` is no length"))?);
            }
        }
        Ok(Reply {
            status: status.context("the reply is empty")?,
            length: length.context("the reply does not tell its length")?,
        })
    }
}

/// One request on a connection of its own.
pub fn once(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let mut client = Client::connect(address)?;
    let body = client.get(path, true)?;
    client.closed()?;
    Ok(body)
}
