//! A channel to the host (section 5.3): a console with one port, whose other end is a Unix socket that programs of
//! the host connect to, one at a time.
//!
//! What the guest writes while nobody is connected stays in its queue. A program may end before the guest has read
//! what it sent: the next one is served when that is done.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::event::PollFlags;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, accept_with, recv};
use virtio_queue::QueueT;

use super::parts::Parts;
use super::queue::{Active, Chain, Device, Model, Worker};
use crate::jail::{Call, calls};

const CONSOLE: u32 = 3;

/// The places of the queues.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// The name of a socket, which is gone when this is.
pub struct Name {
    directory: OwnedFd,
    name: std::ffi::OsString,
}

impl Name {
    /// Where it is.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Takes it away.
    pub fn remove(&self) {
        let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The worker.
struct Channel {
    listener: UnixListener,
    client: Option<Client>,
}

/// A program that is connected.
struct Client {
    socket: OwnedFd,
    /// It may still write, and read.
    writes: bool,
    reads: bool,
}

/// A request that is being sent, and how much of it has been.
type Sending = Option<(Chain, usize)>;

/// Makes a channel, whose socket is at `path`.
pub fn listen(path: &Path) -> Result<(Device, Name)> {
    let listener = || {
        let name = path.file_name().context("it has no name")?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty())?;
        let listener = UnixListener::bind(path).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => anyhow::anyhow!("it exists: remove it, or name another"),
            _ => error.into(),
        })?;
        let name = name.to_owned();
        listener.set_nonblocking(true)?;
        anyhow::Ok((listener, Name { directory, name }))
    };
    let (listener, name) =
        listener().with_context(|| format!("no channel can be made at {}", path.display()))?;
    let model = Model {
        id: CONSOLE,
        features: 0,
        // Columns, rows, ports, and a register for emergencies: none is valid without its feature.
        configuration: vec![0; 12],
        queues: 2,
        share: |_, _, _| vec![RECEIVE, TRANSMIT],
    };
    let client = None;
    Ok(((model, vec![Box::new(Channel { listener, client })]), name))
}

fn would_wait(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl Client {
    /// Sends what the guest has written, until there is no more of it, or no room. Gives whether there is none.
    fn send(&mut self, active: &mut Active, sending: &mut Sending) -> io::Result<bool> {
        let memory = active.memory.clone();
        loop {
            active.disable(TRANSMIT);
            loop {
                if sending.is_none() {
                    *sending = active.next(TRANSMIT)?.map(|request| (request, 0));
                }
                let Some((request, sent)) = sending else {
                    break;
                };
                let head = request.head_index();
                let parts = Parts::of(&memory, request.clone().readable()).unwrap_or_default();
                let (_, mut rest) = parts.split(*sent);
                while rest.len() > 0 {
                    match rest.write(self.socket.as_fd()) {
                        Ok(length) => {
                            *sent += length;
                            (_, rest) = rest.split(length);
                        }
                        Err(error) if would_wait(&error) => return Ok(true),
                        Err(_) => {
                            self.reads = false;
                            return Ok(false);
                        }
                    }
                }
                *sending = None;
                if active.give(TRANSMIT, head, 0) {
                    active.interrupt.tell();
                }
            }
            if !active.enable(TRANSMIT) {
                return Ok(false);
            }
        }
    }

    /// Takes what has come in, until there is no more of it, or the guest has no room. Gives whether it has none for
    /// something.
    fn receive(&mut self, active: &mut Active) -> io::Result<bool> {
        let memory = active.memory.clone();
        loop {
            active.disable(RECEIVE);
            while let Some(request) = active.next(RECEIVE)? {
                let parts = Parts::of(&memory, request.clone().writable()).unwrap_or_default();
                let length = match parts.len() {
                    0 => Ok(0),
                    _ => parts.read(self.socket.as_fd()),
                };
                let nothing = parts.len() > 0 && matches!(length, Ok(0));
                if nothing || length.is_err() {
                    let before = active.queues[RECEIVE].next_avail().wrapping_sub(1);
                    active.queues[RECEIVE].set_next_avail(before);
                    self.writes = length.is_err_and(|error| would_wait(&error));
                    return Ok(false);
                }
                if active.give(RECEIVE, request.head_index(), length.unwrap_or(0) as u32) {
                    active.interrupt.tell();
                }
            }
            if !active.enable(RECEIVE) {
                // Without room for it, see whether there is something, or an end.
                let next =
                    recv(&self.socket, &mut [0u8], RecvFlags::PEEK).map(|(_, length)| length);
                self.writes = matches!(next, Ok(1) | Err(Errno::AGAIN));
                return Ok(next == Ok(1));
            }
        }
    }
}

impl Channel {
    /// What to wait for: the next client, or this one.
    fn waits_for(&self, full: bool, blocked: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let Some(client) = &self.client else {
            return Some((self.listener.as_fd(), PollFlags::IN));
        };
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, client.writes && !full);
        flags.set(PollFlags::OUT, blocked);
        // That it is gone is always reported: not before what it has sent is taken.
        let quiet = flags.is_empty() && client.writes;
        (!quiet).then_some((client.socket.as_fd(), flags))
    }
}

impl Worker for Channel {
    fn calls(&self) -> &'static [Call] {
        calls! { SYS_accept4 SYS_readv SYS_recvfrom }
    }

    fn run(&mut self, active: &mut Active) -> io::Result<()> {
        let mut sending = None;
        loop {
            if self.client.is_none()
                && let Ok(socket) = accept_with(&self.listener, SocketFlags::NONBLOCK)
            {
                self.client = Some(Client { socket, writes: true, reads: true });
            }
            let (mut full, mut blocked) = (false, false);
            if let Some(client) = &mut self.client {
                if client.writes {
                    full = client.receive(active)?;
                }
                if client.reads {
                    blocked = client.send(active, &mut sending)?;
                }
                if !client.writes && !client.reads {
                    self.client = None;
                    continue;
                }
            }
            let Some(ready) = active.wait(self.waits_for(full, blocked))? else {
                return Ok(());
            };
            if let Some(client) = &mut self.client
                && ready.intersects(PollFlags::HUP | PollFlags::ERR)
            {
                client.reads = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::Duration;

    use super::super::tests::{Driver, Part};
    use super::*;

    struct Test {
        driver: Driver,
        path: std::path::PathBuf,
        _directory: tempfile::TempDir,
        name: Name,
    }

    fn test() -> Result<Test> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("channel");
        let (device, name) = listen(&path)?;
        Ok(Test { driver: Driver::new(device, 0)?, path, _directory: directory, name })
    }

    impl Test {
        fn connect(&self) -> Result<UnixStream> {
            let client = UnixStream::connect(&self.path)?;
            client.set_read_timeout(Some(Duration::from_secs(10)))?;
            Ok(client)
        }
    }

    #[test]
    fn both_ends_talk() -> Result<()> {
        let mut test = test()?;
        let mut client = test.connect()?;
        for round in 0..40_u8 {
            client.write_all(&[round; 100])?;
            let mut got = Vec::new();
            while got.len() < 100 {
                got.extend(test.driver.request(RECEIVE, &[Part::Write(64)])?);
            }
            assert_eq!(got, [round; 100]);
            let parts = [Part::Read(&got[..50]), Part::Read(b""), Part::Read(&got[50..])];
            test.driver.request(TRANSMIT, &parts)?;
            let mut echo = [0; 100];
            client.read_exact(&mut echo)?;
            assert_eq!(echo, [round; 100]);
        }
        Ok(())
    }

    #[test]
    fn what_nobody_reads_is_held_back() -> Result<()> {
        let mut test = test()?;
        let (first, _) = test.driver.give(TRANSMIT, &[Part::Read(b"one ")])?;
        let (second, _) = test.driver.give(TRANSMIT, &[Part::Read(b"two ")])?;
        thread::sleep(Duration::from_millis(50));
        assert_eq!(test.driver.used(TRANSMIT, first), None);
        let mut client = test.connect()?;
        let mut text = [0; 8];
        client.read_exact(&mut text)?;
        assert_eq!(&text, b"one two ");
        test.driver.wait(TRANSMIT, second)?;
        drop(client);
        thread::sleep(Duration::from_millis(50));
        let (third, _) = test.driver.give(TRANSMIT, &[Part::Read(b"three")])?;
        thread::sleep(Duration::from_millis(50));
        assert_eq!(test.driver.used(TRANSMIT, third), None);
        test.connect()?.read_exact(&mut text[..5])?;
        assert_eq!(&text[..5], b"three");
        Ok(())
    }

    #[test]
    fn a_client_that_has_said_all_still_gets_answers() -> Result<()> {
        let mut test = test()?;
        let mut client = test.connect()?;
        client.write_all(b"question")?;
        client.shutdown(std::net::Shutdown::Write)?;
        assert_eq!(test.driver.request(RECEIVE, &[Part::Write(64)])?, b"question");
        thread::sleep(Duration::from_millis(50));
        test.driver.request(TRANSMIT, &[Part::Read(b"answer")])?;
        let mut text = [0; 6];
        client.read_exact(&mut text)?;
        assert_eq!(&text, b"answer");
        Ok(())
    }

    #[test]
    fn what_a_client_has_sent_arrives_after_its_end() -> Result<()> {
        let mut test = test()?;
        test.connect()?.write_all(&[7; 5000])?;
        let mut next = test.connect()?;
        next.write_all(b"next")?;
        thread::sleep(Duration::from_millis(50));
        let mut got = Vec::new();
        while got.len() < 5004 {
            got.extend(test.driver.request(RECEIVE, &[Part::Write(1024)])?);
        }
        assert_eq!((&got[..5000], &got[5000..]), (&[7; 5000][..], &b"next"[..]));
        Ok(())
    }

    #[test]
    fn a_slow_client_gets_everything() -> Result<()> {
        let mut test = test()?;
        let mut client = test.connect()?;
        let reader = thread::spawn(move || {
            let mut got = vec![0; 200 * 0x2000];
            for piece in got.chunks_mut(100_000) {
                thread::sleep(Duration::from_millis(5));
                client.read_exact(piece)?;
            }
            io::Result::Ok(got)
        });
        for round in 0..200_u16 {
            test.driver.request(TRANSMIT, &[Part::Read(&[round as u8; 0x2000])])?;
        }
        let got = reader.join().map_err(|_| anyhow::anyhow!("no reader"))??;
        let expected = (0..200_u16).flat_map(|round| [round as u8; 0x2000]);
        assert!(got.into_iter().eq(expected));
        Ok(())
    }

    #[test]
    fn bad_buffers_come_back_empty_and_a_reset_is_survived() -> Result<()> {
        let mut test = test()?;
        let mut client = test.connect()?;
        client.write_all(b"text")?;
        let away = || Part::Raw(u64::MAX - 10, 64, 2);
        assert_eq!(test.driver.request(RECEIVE, &[away()])?, b"");
        let (number, _) = test.driver.give(TRANSMIT, &[Part::Raw(2 << 20, 64, 0)])?;
        assert_eq!(test.driver.wait(TRANSMIT, number)?, 0);
        test.driver.reset();
        test.driver.begin(0)?;
        assert_eq!(test.driver.request(RECEIVE, &[Part::Write(64)])?, b"text");
        test.driver.request(TRANSMIT, &[Part::Read(b"back")])?;
        let mut text = [0; 4];
        client.read_exact(&mut text)?;
        assert_eq!(&text, b"back");
        Ok(())
    }

    #[test]
    fn a_name_is_taken_once_and_goes() -> Result<()> {
        let test = test()?;
        let again = listen(&test.path).map(drop).map_err(|error| format!("{error:#}"));
        assert!(again.is_err_and(|error| error.contains("it exists: remove it")));
        assert!(test.path.exists());
        test.name.remove();
        assert!(!test.path.exists());
        let long = test.path.with_file_name("x".repeat(200));
        assert!(listen(&long).is_err() && listen(Path::new("/")).is_err());
        Ok(())
    }
}
