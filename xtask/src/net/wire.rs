//! A wire between a machine and this host that loses, doubles, delays and disorders frames.
//!
//! Linux's `netem` does the same, but not every kernel has it, and its chances are not repeatable: these
//! follow from a seed. The wire also takes frames from nowhere, for floods and made-up frames.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

use super::card::{Backend, Card};
use super::random::Random;

/// The longest frame that either side sends: a segment that is not cut yet.
const LONGEST: usize = 70_000;
/// How often the word to end is looked for.
const TICK: Duration = Duration::from_millis(50);
/// How long a full machine is waited for; then a frame is lost, as on a real card.
const FULL: Duration = Duration::from_millis(100);
/// The pause between two tries.
const RETRY: Duration = Duration::from_micros(50);

/// What the wire does to frames, in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Impairment {
    /// The share that is lost.
    pub loss: f64,
    /// The share that arrives twice.
    pub duplication: f64,
    /// The share that is not delayed, and so overtakes others.
    pub reordering: f64,
    /// How long the others take.
    pub delay: Duration,
}

/// How many frames the wire has met.
#[derive(Debug, Default)]
pub struct Counts {
    /// From either side.
    pub taken: AtomicU64,
    /// Lost on purpose.
    pub lost: AtomicU64,
    /// Doubled on purpose.
    pub doubled: AtomicU64,
    /// Lost because a side took no more.
    pub overrun: AtomicU64,
}

/// A running wire. It ends with this.
pub struct Wire {
    directory: TempDir,
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Wire {
    /// Connects a TAP device of this host's with a machine that has [`card`](Self::card).
    pub fn new(tap: File, impairment: Impairment, seed: u64) -> Result<Wire> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let machine = UnixDatagram::bind(directory.path().join("wire"))
            .context("cannot make a socket for the wire")?;
        machine.set_nonblocking(true)?;
        rustix::io::ioctl_fionbio(&tap, true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let mut ends = Ends {
            tap,
            machine,
            address: directory.path().join("machine"),
            impairment,
            random: Random::new(seed),
            waiting: BinaryHeap::new(),
            number: 0,
            counts: Arc::clone(&counts),
        };
        let told = Arc::clone(&stop);
        let thread =
            thread::Builder::new().name("wire".to_owned()).spawn(move || ends.carry(&told))?;
        Ok(Wire { directory, stop, counts, thread: Some(thread) })
    }

    /// The machine's network card.
    pub fn card(&self) -> Card {
        let own = self.directory.path().join("machine");
        let peer = self.directory.path().join("wire");
        Card::new(0, Backend::Datagram { own, peer })
    }

    /// A way to put frames in front of the machine that nobody has sent. Each waits until the machine
    /// takes it.
    pub fn injector(&self) -> Result<Injector> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let address = self.directory.path().join("machine");
        Ok(Injector { socket, address })
    }

    /// What was done so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Puts frames in front of a machine.
pub struct Injector {
    socket: UnixDatagram,
    address: PathBuf,
}

impl Injector {
    /// Sends one; waits at most so long until the machine takes it, and says whether it has.
    pub fn send(&self, frame: &[u8], limit: Duration) -> Result<bool> {
        send(&self.socket, &self.address, frame, limit)
    }
}

/// Sends a frame to QEMU; gives whether that was possible in time.
fn send(socket: &UnixDatagram, address: &PathBuf, frame: &[u8], limit: Duration) -> Result<bool> {
    let mut end = None;
    loop {
        match socket.send_to(frame, address) {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if Instant::now() >= *end.get_or_insert_with(|| Instant::now() + limit) {
                    return Ok(false);
                }
                thread::sleep(RETRY);
            }
            // There is no machine yet, or none any more.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error).context("a frame cannot be sent to QEMU"),
        }
    }
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Host,
    Machine,
}

/// A frame under way: when it arrives, its number, where, and its bytes.
type Travelling = (Instant, u64, Side, Vec<u8>);

/// The wire's thread.
struct Ends {
    tap: File,
    machine: UnixDatagram,
    /// QEMU's socket.
    address: PathBuf,
    impairment: Impairment,
    random: Random,
    /// Those that arrive first come first; at the same time, those with the lower number.
    waiting: BinaryHeap<Reverse<Travelling>>,
    number: u64,
    counts: Arc<Counts>,
}

impl Ends {
    fn carry(&mut self, stop: &AtomicBool) -> Result<()> {
        let mut buffer = vec![0; LONGEST];
        while !stop.load(Ordering::Relaxed) {
            self.wait()?;
            // Not one side for ever.
            for _ in 0..64 {
                match self.tap.read(&mut buffer) {
                    Ok(count) => self.take(Side::Machine, &buffer[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("the TAP device cannot be read"),
                }
            }
            for _ in 0..64 {
                match self.machine.recv(&mut buffer) {
                    Ok(count) => self.take(Side::Host, &buffer[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("QEMU's frames cannot be read"),
                }
            }
            self.deliver()?;
        }
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        let next = self.waiting.peek();
        let next = next.map(|Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
        let wait = next.map_or(TICK, |next| next.min(TICK));
        let mut ends = [self.tap.as_fd(), self.machine.as_fd()]
            .map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN));
        poll(&mut ends, Timespec::try_from(wait).ok().as_ref())?;
        Ok(())
    }

    /// Takes a frame, and decides what becomes of it.
    fn take(&mut self, to: Side, frame: &[u8]) {
        let Impairment { loss, duplication, reordering, delay } = self.impairment;
        self.counts.taken.fetch_add(1, Ordering::Relaxed);
        if self.random.chance(loss) {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let copies = if self.random.chance(duplication) { 2 } else { 1 };
        self.counts.doubled.fetch_add(copies - 1, Ordering::Relaxed);
        for _ in 0..copies {
            let now = Instant::now();
            let due = match self.random.chance(reordering) {
                true => now,
                false => now + delay,
            };
            self.number += 1;
            self.waiting.push(Reverse((due, self.number, to, frame.to_vec())));
        }
    }

    fn deliver(&mut self) -> Result<()> {
        while let Some(Reverse((due, ..))) = self.waiting.peek()
            && *due <= Instant::now()
            && let Some(Reverse((_, _, to, frame))) = self.waiting.pop()
        {
            let sent = match to {
                Side::Machine => send(&self.machine, &self.address, &frame, FULL)?,
                // A device that is down, or full.
                Side::Host => self.tap.write(&frame).is_ok(),
            };
            if !sent {
                self.counts.overrun.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
