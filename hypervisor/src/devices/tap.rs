//! TAP devices: network interfaces of the host whose other end is a program (Linux,
//! `Documentation/networking/tuntap.rst`).

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, bail};

use super::link::{self, HEADER, Link};
use super::net::{GUEST_CSUM, GUEST_TSO4, GUEST_TSO6};
use super::parts::Parts;
use crate::jail::Call;

/// What its worker calls.
pub const CALLS: [Call; 2] =
    [(libc::SYS_ioctl, Some(SET_OFFLOADS)), (libc::SYS_ioctl, Some(SET_QUEUE))];

const SET_INTERFACE: libc::c_ulong = 0x4004_54ca;
const SET_HEADER_SIZE: libc::c_ulong = 0x4004_54d8;
/// `TUNSETOFFLOAD`.
const SET_OFFLOADS: u64 = 0x4004_54d0;
/// `TUNSETQUEUE`.
const SET_QUEUE: u64 = 0x4004_54d9;

/// Frames with their Ethernet header and nothing before it but virtio's.
const FLAGS: u16 = 0x0002 | 0x1000 | 0x4000;
/// Several queues.
const MULTIPLE: u16 = 0x0100;
const ATTACH: u16 = 0x0200;
const DETACH: u16 = 0x0400;

/// What the guest takes, by the features of the card: missing checksums, large segments of TCP over IPv4 and
/// IPv6.
const OFFLOADS: [(u64, u32); 3] = [(GUEST_CSUM, 1), (GUEST_TSO4, 2), (GUEST_TSO6, 4)];

/// A queue of an interface.
pub struct Tap(File);

/// `struct ifreq`: a name, and flags.
fn request(name: &str, flags: u16) -> [u8; 40] {
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[libc::IFNAMSIZ..libc::IFNAMSIZ + 2].copy_from_slice(&flags.to_ne_bytes());
    request
}

/// Opens the interface `name`, which is made when there is none and the user may, with at most so many queues.
pub fn open(name: &str, most: usize) -> Result<Vec<Tap>> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('/') {
        bail!("`{name}` is no name of a network interface");
    }
    // One that is there has several queues or one, as it was made.
    let (wanted, other) = if most > 1 { (most, 1) } else { (1, 2) };
    let opened = match open_queues(name, wanted) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open_queues(name, other),
        opened => opened,
    };
    let mut taps = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::EACCES) => anyhow::anyhow!(
            "/dev/net/tun cannot be opened: load the module tun ({error})"
        ),
        Some(libc::EPERM) => anyhow::anyhow!(
            "the interface {name} may not be used: make it for this user (`sudo ip tuntap add {name} mode tap user $USER`), or run as root"
        ),
        Some(libc::EBUSY) => anyhow::anyhow!("the interface {name} is in use by another program"),
        _ => anyhow::Error::new(error).context(format!("the interface {name} cannot be used")),
    })?;
    taps.truncate(most);
    let idle = taps[1..].iter().try_for_each(|tap| tap.attach(false));
    idle.with_context(|| format!("the interface {name} cannot be used"))?;
    Ok(taps)
}

/// Opens so many queues.
fn open_queues(name: &str, count: usize) -> io::Result<Vec<Tap>> {
    let flags = if count > 1 { FLAGS | MULTIPLE } else { FLAGS };
    let open = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options.custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
        let tap = Tap(options.open("/dev/net/tun")?);
        let mut request = request(name, flags);
        let mut size = (HEADER as libc::c_int).to_ne_bytes();
        tap.call(SET_INTERFACE, &mut request)?;
        tap.call(SET_HEADER_SIZE, &mut size)?;
        Ok(tap)
    };
    (0..count).map(|_| open()).collect()
}

impl Tap {
    /// Another handle of the same queue.
    pub fn try_clone(&self) -> io::Result<Tap> {
        self.0.try_clone().map(Tap)
    }

    /// Gives frames to this queue from now on, or none any more. The first queue of an interface always has some.
    pub fn attach(&self, attach: bool) -> io::Result<()> {
        let mut request = request("", if attach { ATTACH } else { DETACH });
        self.call(SET_QUEUE, &mut request)
    }

    /// A call whose argument is a structure, of which `bytes` are enough.
    fn call(&self, number: libc::c_ulong, bytes: &mut [u8]) -> io::Result<()> {
        // SAFETY: these calls read and write no more than their structure, and keep nothing.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), number, bytes.as_mut_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Link for Tap {
    fn begin(&mut self, features: u64) -> io::Result<()> {
        let agreed = OFFLOADS.iter().filter(|(feature, _)| features & feature != 0);
        let offloads = agreed.fold(0, |all, (_, offload)| all | offload);
        // SAFETY: the call takes a number.
        match unsafe {
            libc::ioctl(self.0.as_raw_fd(), SET_OFFLOADS, libc::c_ulong::from(offloads))
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        self.0.read(frame)
    }

    fn send(&mut self, parts: Parts<'_>) -> io::Result<()> {
        link::write(self.0.as_fd(), &parts).map(drop)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
