//! The streams between a virtual machine and the outside: standard input framed for the serial
//! line, output passed on as it comes, the exit status on a channel of its own.

use std::fs::File;
use std::io::{self, Cursor, IsTerminal, Read, Write};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, Signal};

use crate::net::backlog;

/// The next byte is literal.
const DLE: u8 = 0x10;
/// End of file.
const EOT: u8 = 0x04;
/// What the guest writes to the status channel when it is ready for input.
const ENQ: u8 = 0x05;

/// A command whose pipes are made, ready to be spawned.
pub struct Start {
    command: Command,
    stderr: OwnedFd,
    status: OwnedFd,
    /// Descriptors that the child inherits; closed here once it runs.
    inherited: Vec<OwnedFd>,
    /// Where the child will listen for the guest.
    published: Vec<SocketAddrV4>,
}

impl Start {
    /// `command` makes the command from the descriptors that it inherits for the guest's standard
    /// error and exit status.
    pub fn new(
        command: impl FnOnce(RawFd, RawFd) -> Result<(Command, Vec<File>)>,
    ) -> Result<Start> {
        let (stderr, stderr_end) = inherited_pipe()?;
        let (status, status_end) = inherited_pipe()?;
        let (command, files) = command(stderr_end.as_raw_fd(), status_end.as_raw_fd())?;
        let mut inherited = vec![stderr_end, status_end];
        inherited.extend(files.into_iter().map(OwnedFd::from));
        Ok(Start { command, stderr, status, inherited, published: Vec::new() })
    }

    /// The child will listen at these TCP ports for the guest.
    #[must_use]
    pub fn publishing(self, published: Vec<SocketAddrV4>) -> Start {
        Start { published, ..self }
    }
}

/// A pipe whose writing end a child inherits.
fn inherited_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    rustix::io::fcntl_setfd(&writer, FdFlags::empty())?;
    Ok((reader, writer))
}

/// Where a machine's standard input comes from.
pub struct Input(Box<dyn Read + Send>);

impl Input {
    /// This process's own standard input; `None` when there is nothing to be read.
    pub fn inherit() -> Option<Input> {
        let stdin = rustix::io::dup(rustix::stdio::stdin()).ok()?;
        let meta = rustix::fs::fstat(&stdin).ok()?;
        let null = rustix::fs::stat("/dev/null").is_ok_and(|null| null.st_rdev == meta.st_rdev);
        (!null).then(|| Input(Box::new(File::from(stdin))))
    }

    /// This process's own standard input, when it is a regular file that can be given to QEMU as a
    /// whole: nothing of it has been read, and the device that takes it counts in 32 bits.
    pub fn inherit_file() -> Option<File> {
        let stdin = rustix::io::dup(rustix::stdio::stdin()).ok()?;
        let meta = rustix::fs::fstat(&stdin).ok()?;
        let regular = rustix::fs::FileType::from_raw_mode(meta.st_mode).is_file();
        let whole = rustix::fs::tell(&stdin).is_ok_and(|position| position == 0);
        let small = u32::try_from(meta.st_size).is_ok();
        (regular && whole && small).then(|| File::from(stdin))
    }

    /// These bytes.
    pub fn bytes(bytes: Vec<u8>) -> Input {
        Input(Box::new(Cursor::new(bytes)))
    }

    /// Sends everything, framed. Ends quietly when the machine is gone.
    fn pump(mut self, mut to: ChildStdin) {
        let mut buffer = vec![0; 64 << 10];
        let mut framed = Vec::new();
        loop {
            let count = match self.0.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    eprintln!(
                        "skete: cannot read standard input: {error}; the program sees its end"
                    );
                    0
                }
            };
            framed.clear();
            frame(&buffer[..count], &mut framed);
            if count == 0 {
                framed.push(EOT);
            }
            if to.write_all(&framed).is_err() || count == 0 {
                return;
            }
        }
    }
}

/// Escapes `data` for `stdin=framed`.
fn frame(data: &[u8], framed: &mut Vec<u8>) {
    for &byte in data {
        if byte == EOT || byte == DLE {
            framed.push(DLE);
        }
        framed.push(byte);
    }
}

/// Takes what a machine writes. An error means that nobody reads any more.
pub trait Output {
    /// The program's standard output.
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The program's standard error, the kernel's messages, QEMU's own.
    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// When the machine is to be ended if nothing changes this until then.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// The digits of this process's standard streams that are terminals.
pub fn terminals() -> String {
    let streams =
        [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()];
    let digits = streams.iter().zip("012".chars());
    digits.filter_map(|(terminal, digit)| terminal.then_some(digit)).collect()
}

/// Passes everything on to this process's own streams at once.
pub struct Inherit {
    stdout: File,
    stderr: File,
}

impl Inherit {
    /// The process's own standard output and standard error.
    pub fn new() -> Result<Inherit> {
        let stdout = File::from(
            rustix::io::dup(rustix::stdio::stdout()).context("standard output is closed")?,
        );
        let stderr = File::from(
            rustix::io::dup(rustix::stdio::stderr()).context("standard error is closed")?,
        );
        Ok(Inherit { stdout, stderr })
    }
}

impl Output for Inherit {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.write_all(bytes)
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stderr.write_all(bytes)
    }
}

/// Collects everything.
#[derive(Default)]
pub struct Collect {
    /// The program's standard output.
    pub stdout: Vec<u8>,
    /// The program's standard error.
    pub stderr: Vec<u8>,
}

impl Output for Collect {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.extend_from_slice(bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stderr.extend_from_slice(bytes);
        Ok(())
    }
}

/// How a machine ended.
pub struct Run {
    /// The status that the guest wrote.
    pub status: Option<i32>,
    /// QEMU's own exit status.
    pub qemu: ExitStatus,
    /// From start to end.
    pub wall: Duration,
    /// Whether the time limit ended it.
    pub timed_out: bool,
    /// Whether it was ended because nobody reads its output.
    pub reader_gone: bool,
}

impl Run {
    /// One line that says why there is no exit status.
    pub fn why_no_status(&self) -> String {
        match (self.qemu.code(), self.qemu.signal()) {
            (Some(0), _) => "the virtual machine was reset or powered off without an exit status; \
                             the usual cause is a fault before the kernel can report one"
                .to_owned(),
            (Some(code), _) => {
                format!("QEMU ended with {code} before the program gave an exit status")
            }
            (None, signal) => format!("QEMU was killed by signal {}", signal.unwrap_or_default()),
        }
    }
}

/// A child that does not outlive its owner.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a machine to its end.
pub fn run(
    start: Start,
    input: Option<Input>,
    limit: Option<Duration>,
    output: &mut dyn Output,
) -> Result<Run> {
    let Start { mut command, stderr, status, inherited, published } = start;
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C ends this process, and with it QEMU; QEMU need not see it.
    command.process_group(0);
    die_with_parent(&mut command);
    let started = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    drop(inherited);
    let mut child = Guarded(child);
    let mut waiting = input.zip(child.0.stdin.take());
    let pid = rustix::process::Pid::from_child(&child.0);
    let pidfd =
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).context("cannot watch QEMU")?;
    if !published.is_empty() {
        let watched = pidfd.try_clone()?;
        thread::Builder::new()
            .name("backlog".into())
            .spawn(move || backlog::lengthen(pid, &watched, published))?;
    }

    let stdout = child.0.stdout.take().map(OwnedFd::from);
    let own = child.0.stderr.take().map(OwnedFd::from);
    let mut channels = [stdout, Some(stderr), own, Some(status)].map(|fd| fd.map(File::from));
    let mut written = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let (mut exited, mut timed_out, mut reader_gone) = (false, false, false);
    let limit = limit.and_then(|limit| started.checked_add(limit));
    let end = |output: &dyn Output| limit.into_iter().chain(output.deadline()).min();
    while !exited || channels.iter().any(Option::is_some) {
        let wait = end(output)
            .filter(|_| !exited)
            .map(|end| end.saturating_duration_since(Instant::now()));
        let ready = wait_for(&channels, (!exited).then_some(&pidfd), wait)?;
        for (index, channel) in channels.iter_mut().enumerate() {
            let Some(file) = channel.as_mut().filter(|_| ready.channels[index]) else {
                continue;
            };
            let count = match file.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("cannot read what QEMU writes"),
            };
            if count == 0 {
                *channel = None;
                continue;
            }
            let bytes = &buffer[..count];
            let passed = match index {
                0 => output.stdout(bytes),
                1 | 2 => output.stderr(bytes),
                _ => {
                    written.extend_from_slice(bytes);
                    if written[0] == ENQ
                        && let Some((input, stdin)) = waiting.take()
                    {
                        thread::Builder::new()
                            .name("stdin".into())
                            .spawn(move || input.pump(stdin))?;
                    }
                    Ok(())
                }
            };
            match passed {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    reader_gone = true;
                    let _ = child.0.kill();
                }
                passed => passed.context("cannot pass on what the program writes")?,
            }
        }
        exited |= ready.exited;
        if !exited && !timed_out && end(output).is_some_and(|end| Instant::now() >= end) {
            timed_out = true;
            child.0.kill().context("cannot end QEMU")?;
        }
    }
    let wall = started.elapsed();
    let qemu = child.0.wait().context("cannot wait for QEMU")?;
    let status =
        written.last_chunk().filter(|_| !timed_out).map(|bytes| i32::from_le_bytes(*bytes));
    Ok(Run { status, qemu, wall, timed_out, reader_gone })
}

struct Ready {
    channels: [bool; 4],
    exited: bool,
}

/// Waits until a channel has bytes or has ended, the process has ended, or the time is over.
fn wait_for(
    channels: &[Option<File>; 4],
    pidfd: Option<&OwnedFd>,
    wait: Option<Duration>,
) -> Result<Ready> {
    let mut fds = Vec::new();
    let mut places = Vec::new();
    for (index, file) in channels.iter().enumerate() {
        if let Some(file) = file {
            fds.push(PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN));
            places.push(index);
        }
    }
    if let Some(pidfd) = pidfd {
        fds.push(PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN));
        places.push(4);
    }
    let wait = wait.and_then(|wait| Timespec::try_from(wait + Duration::from_millis(1)).ok());
    match poll(&mut fds, wait.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error).context("cannot wait for QEMU"),
    }
    let mut ready = Ready { channels: [false; 4], exited: false };
    for (fd, place) in fds.iter().zip(places) {
        let set = !fd.revents().is_empty();
        match ready.channels.get_mut(place) {
            Some(channel) => *channel = set,
            None => ready.exited = set,
        }
    }
    Ok(ready)
}

/// Has the kernel kill the child when this thread ends, for whatever reason.
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let tie = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have ended before the line above.
        match rustix::process::getppid() {
            Some(pid) if pid == parent => Ok(()),
            _ => Err(io::Error::from(Errno::SRCH)),
        }
    };
    // SAFETY: `tie` makes two system calls and allocates nothing, so it is sound after a fork of a
    // process that has more threads.
    unsafe { command.pre_exec(tie) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &'static str) -> Result<Start> {
        Start::new(|stderr, status| {
            let mut command = Command::new("sh");
            command.args([
                "-c",
                script,
                "sh",
                &format!("/dev/fd/{stderr}"),
                &format!("/dev/fd/{status}"),
            ]);
            Ok((command, Vec::new()))
        })
    }

    #[test]
    fn framing_escapes_its_own_bytes_only() {
        let mut framed = Vec::new();
        frame(&[1, EOT, 2, DLE, 0x1b, 0xff], &mut framed);
        assert_eq!(framed, [1, DLE, EOT, 2, DLE, DLE, 0x1b, 0xff]);
    }

    #[test]
    fn streams_and_status_arrive_apart() -> Result<()> {
        let mut output = Collect::default();
        let script = r#"printf out; printf err >$1; printf '\005\001\000\000' >$2; exit 11"#;
        let run = run(start(script)?, None, None, &mut output)?;
        assert_eq!(
            (output.stdout.as_slice(), output.stderr.as_slice()),
            (&b"out"[..], &b"err"[..])
        );
        assert_eq!(run.status, Some(0x105));
        assert!(!run.timed_out);
        Ok(())
    }

    #[test]
    fn large_input_arrives_framed_and_whole() -> Result<()> {
        let mut output = Collect::default();
        let data: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let mut framed = Vec::new();
        frame(&data, &mut framed);
        framed.push(EOT);
        run(start("printf '\\005' >$2; cat")?, Some(Input::bytes(data)), None, &mut output)?;
        assert!(output.stdout == framed);
        Ok(())
    }

    #[test]
    fn input_waits_until_the_guest_asks() -> Result<()> {
        let mut output = Collect::default();
        let run = run(
            start("printf '\\007\\000\\000\\000' >$2")?,
            Some(Input::bytes(b"x".to_vec())),
            None,
            &mut output,
        )?;
        assert_eq!(run.status, Some(7));
        Ok(())
    }

    #[test]
    fn the_time_limit_ends_a_machine() -> Result<()> {
        let mut output = Collect::default();
        let run = run(start("exec sleep 60")?, None, Some(Duration::from_millis(50)), &mut output)?;
        assert!(run.timed_out && run.status.is_none());
        assert!(run.wall < Duration::from_secs(10));
        Ok(())
    }

    #[test]
    fn no_status_is_explained() -> Result<()> {
        let run = run(start("exit 3")?, None, None, &mut Collect::default())?;
        assert_eq!(run.status, None);
        assert!(run.why_no_status().contains("ended with 3"));
        Ok(())
    }
}
