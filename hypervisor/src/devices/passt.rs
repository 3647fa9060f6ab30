//! `passt`: a program that carries a guest's frames as this user's own connections, without privileges
//! (<https://passt.top>).
//!
//! Each frame on its socket has its length in front, four bytes, the highest first, as QEMU's `-netdev stream`
//! has it.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::io::FdFlags;

use super::link::{self, HEADER, Link};
use super::parts::Parts;
use crate::options::Publish;

/// Bytes of a length.
const LENGTH: usize = 4;
/// Bytes of Ethernet's header.
const ETHERNET: usize = 14;
/// The longest IP packet that passt takes. The guest has to know: a part of a longer one is carried as if it were whole.
pub const MTU: u16 = 65520;
/// The longest frame: passt gives any packet that there is.
const LONGEST: usize = u16::MAX as usize + ETHERNET;
/// Room for what has come in: at least one frame.
const ROOM: usize = 2 * (LENGTH + LONGEST);

/// passt, as a card's other end. It ends when this is dropped, or the process ends.
pub struct Passt {
    socket: UnixStream,
    /// What has come in, from `start` to `end`.
    input: Box<[u8]>,
    start: usize,
    end: usize,
    /// The rest of a frame on its way out.
    rest: Vec<u8>,
}

impl Passt {
    /// Starts passt, which lets these ports of the host be ports of the guest.
    pub fn start(published: &[Publish]) -> Result<Passt> {
        let (socket, other) = UnixStream::pair().context("the host gives no socket")?;
        rustix::io::fcntl_setfd(&other, FdFlags::empty()).context("the host gives no socket")?;
        let mut passt = Command::new("passt");
        passt.args(["--quiet", "--fd", &other.as_raw_fd().to_string()]);
        for (number, one) in published.iter().enumerate() {
            let same = |other: &Publish| other.udp && other.guest == one.guest;
            if one.udp && published[..number].iter().any(same) {
                bail!(
                    "--publish: port {}/udp of the guest is published twice, but passt answers from one place: publish it once, at 0.0.0.0 for all addresses",
                    one.guest
                );
            }
            let option = if one.udp { "--udp-ports" } else { "--tcp-ports" };
            passt.args([option, &format!("{}/{}:{}", one.address, one.host, one.guest)]);
        }
        // It goes into the background when it is ready.
        let output = match passt.stdin(Stdio::null()).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "--net user needs the program passt, which is not there: install the package passt, or use --net tap=NAME"
            ),
            other => other.context("passt cannot be started")?,
        };
        if !output.status.success() {
            bail!("passt does not start: {}", complaint(&output.stderr));
        }
        socket.set_nonblocking(true).context("the host gives no socket")?;
        Ok(Passt::new(socket))
    }

    /// One whose frames go over this socket.
    pub fn new(socket: UnixStream) -> Passt {
        Passt { socket, input: vec![0; ROOM].into(), start: 0, end: 0, rest: Vec::new() }
    }

    /// The next frame, when all of it is there.
    fn next(&mut self) -> io::Result<Option<std::ops::Range<usize>>> {
        let input = &self.input[self.start..self.end];
        let Some(length) = input.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > LONGEST {
            return Err(io::Error::other(format!("passt has sent a frame of {length} bytes")));
        }
        let start = self.start + LENGTH;
        let frame = start..start + length;
        Ok((frame.end <= self.end).then(|| {
            self.start = frame.end;
            frame
        }))
    }
}

/// What passt has said, in one line, without its remarks on the system logger.
fn complaint(said: &[u8]) -> String {
    const REMARKS: [&str; 3] = ["Failed to send ", "Don't run as root", "Can't run AVX2 build"];
    let said = String::from_utf8_lossy(said);
    let lines = said.lines().filter(|line| !REMARKS.iter().any(|remark| line.starts_with(remark)));
    match lines.collect::<Vec<_>>().join("; ") {
        empty if empty.is_empty() => "it does not say why".to_owned(),
        text => text,
    }
}

impl Link for Passt {
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(found) = self.next()? {
                let length = HEADER + found.len();
                frame[..HEADER].fill(0);
                frame[HEADER..length].copy_from_slice(&self.input[found]);
                return Ok(length);
            }
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match rustix::io::read(&self.socket, &mut self.input[self.end..])? {
                0 => return Err(io::Error::new(ErrorKind::UnexpectedEof, "passt has ended")),
                length => self.end += length,
            }
        }
    }

    fn has_room(&mut self) -> io::Result<bool> {
        while !self.rest.is_empty() {
            let rest = Parts::from(&mut self.rest[..]);
            match link::write(self.socket.as_fd(), &rest)? {
                Some(written) => _ = self.rest.drain(..written),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn send(&mut self, parts: Parts<'_>) -> io::Result<()> {
        let (_, frame) = parts.split(HEADER);
        let length = frame.len();
        if parts.len() < HEADER || length > MTU as usize + ETHERNET {
            return Ok(());
        }
        let mut head = (length as u32).to_be_bytes();
        let whole = Parts::from(&mut head[..]).and(frame);
        let written = link::write(self.socket.as_fd(), &whole)?.unwrap_or(0);
        self.rest.resize(whole.len() - written, 0);
        whole.split(written).1.copy_to(&mut self.rest);
        Ok(())
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn pair() -> Result<(Passt, UnixStream)> {
        let (socket, other) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        Ok((Passt::new(socket), other))
    }

    /// Sends parts of a frame.
    fn send(passt: &mut Passt, parts: &[&[u8]]) -> io::Result<()> {
        let mut parts = parts.iter().map(|part| part.to_vec()).collect::<Vec<_>>();
        let parts = parts.iter_mut().map(|part| Parts::from(&mut part[..]));
        passt.send(parts.reduce(Parts::and).unwrap_or_default())
    }

    #[test]
    fn frames_are_taken_apart() -> Result<()> {
        let (mut passt, mut other) = pair()?;
        let mut frame = vec![0xff; HEADER + LONGEST];
        let nothing = passt.receive(&mut frame).map_err(|error| error.kind());
        assert_eq!(nothing, Err(ErrorKind::WouldBlock));
        // Many, and in pieces that are none of them.
        let mut stream = Vec::new();
        let lengths = (1..200).map(|number| number * 7).chain([LONGEST]);
        for (number, length) in lengths.clone().enumerate() {
            stream.extend_from_slice(&(length as u32).to_be_bytes());
            stream.resize(stream.len() + length, number as u8);
        }
        let mut pieces = stream.chunks(1000);
        for (number, expected) in lengths.enumerate() {
            let length = loop {
                match passt.receive(&mut frame) {
                    Ok(length) => break length,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        other.write_all(pieces.next().context("all was sent")?)?;
                    }
                    Err(error) => return Err(error.into()),
                }
            };
            assert_eq!(length, HEADER + expected);
            assert_eq!(frame[..HEADER], [0; HEADER]);
            assert!(frame[HEADER..length].iter().all(|byte| *byte == number as u8));
        }
        drop(other);
        let ended = passt.receive(&mut frame).map_err(|error| error.kind());
        assert_eq!(ended, Err(ErrorKind::UnexpectedEof));
        Ok(())
    }

    #[test]
    fn a_frame_of_no_sense_is_an_error() -> Result<()> {
        let (mut passt, mut other) = pair()?;
        other.write_all(&u32::MAX.to_be_bytes())?;
        assert!(passt.receive(&mut vec![0; HEADER + LONGEST]).is_err());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_sent_later() -> Result<()> {
        let (mut passt, mut other) = pair()?;
        let (head, body) = ([0; HEADER], vec![7; 60_000]);
        let mut sent = 0;
        while passt.has_room()? {
            send(&mut passt, &[&head[..5], &head[5..], &body])?;
            sent += 1;
        }
        assert!(sent > 1);
        let mut expected = 60_000_u32.to_be_bytes().to_vec();
        expected.extend(&body);
        for _ in 0..sent {
            let mut got = vec![0; expected.len()];
            let mut at = 0;
            while at < got.len() {
                at += other.read(&mut got[at..])?;
                let _ = passt.has_room()?;
            }
            assert!(got == expected);
        }
        // Too short, and longer than passt takes.
        send(&mut passt, &[&head[1..]])?;
        send(&mut passt, &[&head, &vec![0; MTU as usize + 15]])?;
        other.set_nonblocking(true)?;
        assert!(other.read(&mut [0]).is_err());
        Ok(())
    }

    #[test]
    fn what_passt_complains_of_is_told() {
        let said = b"Can't run AVX2 build, using non-AVX2 version: No such file or directory\nFailed to send 47 bytes to syslog\nDon't run as root. Changing to nobody...\nFailed to send 67 bytes to syslog\nFailed to bind any port for '-t 1', exiting\n";
        assert_eq!(complaint(said), "Failed to bind any port for '-t 1', exiting");
        assert_eq!(complaint(b""), "it does not say why");
    }
}
