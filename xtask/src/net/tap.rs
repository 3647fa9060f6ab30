//! TAP devices: network interfaces of this host whose other end is a program
//! (Linux, `Documentation/networking/tuntap.rst`).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use rustix::ioctl::{self, Updater, opcode};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

/// Longest name of an interface, with the zero behind it (`IFNAMSIZ`).
const NAME_SIZE: usize = 16;

/// Frames with their Ethernet header, and nothing before it.
const TAP: u16 = 0x0002 | 0x1000;
/// A header of virtio-net before each frame: checksums and segments may be left to the other end.
const VNET_HEADER: u16 = 0x4000;
/// Several queues.
const MULTI_QUEUE: u16 = 0x0100;

/// `TUNSETIFF`; it reads and writes an interface request, although its number says `int`.
const SET_INTERFACE: ioctl::Opcode = opcode::write::<i32>(b'T', 202);

/// `struct ifreq` with flags (`netdevice(7)`).
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    name: [u8; NAME_SIZE],
    flags: u16,
    rest: [u8; 22],
}

/// An open TAP device. One that was made, and is not kept by others, is gone when the last holder of a
/// queue has ended, in whatever way.
#[derive(Debug)]
pub struct Tap {
    name: String,
    queues: Vec<OwnedFd>,
}

impl Tap {
    /// Makes a device in the calling thread's network namespace; `%d` in `name` becomes a free number.
    pub fn make(name: &str, queues: u32) -> Result<Tap> {
        attach(name, queues, VNET_HEADER).map_err(|error| match error.downcast_ref() {
            Some(&Errno::PERM) => anyhow::anyhow!(
                "to make a TAP device needs CAP_NET_ADMIN: run as root, or take --net tap=NAME with a device \
                 made before (ip tuntap add NAME mode tap user {})",
                rustix::process::geteuid().as_raw()
            ),
            _ => error.context("cannot make a TAP device"),
        })
    }

    /// Makes a device whose frames are read and written by this program, as they are.
    pub fn make_plain(name: &str) -> Result<Tap> {
        attach(name, 1, 0).context("cannot make a TAP device")
    }

    /// Fails when there is no interface of this name.
    pub fn check(name: &str) -> Result<()> {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        match netdevice::name_to_index(socket, name) {
            Ok(_) => Ok(()),
            Err(Errno::NODEV) => bail!(
                "--net tap={name}: there is no network interface `{name}`; make it with: \
                 ip tuntap add {name} mode tap && ip link set {name} up"
            ),
            Err(error) => bail!("--net tap={name}: {error}"),
        }
    }

    /// Opens a device that is there; it has as many queues as it allows, at most `queues`.
    pub fn open(name: &str, queues: u32) -> Result<Tap> {
        Tap::check(name)?;
        let mut opened = attach(name, queues, VNET_HEADER);
        if queues > 1 && opened.is_err() {
            opened = attach(name, 1, VNET_HEADER);
        }
        opened.map_err(|error| match error.downcast_ref() {
            Some(&Errno::PERM) => anyhow::anyhow!(
                "--net tap={name}: this user may not open it; run as root, or give it away: \
                 ip tuntap add {name} mode tap user {}",
                rustix::process::geteuid().as_raw()
            ),
            Some(&Errno::BUSY) => {
                anyhow::anyhow!(
                    "--net tap={name}: another program holds it; each machine needs its own"
                )
            }
            Some(&Errno::INVAL) => {
                anyhow::anyhow!("--net tap={name}: `{name}` is not a TAP device")
            }
            _ => error.context(format!("--net tap={name}")),
        })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its open queues.
    pub fn queues(&self) -> &[OwnedFd] {
        &self.queues
    }

    /// The only queue, for reading and writing frames.
    pub fn into_queue(mut self) -> Result<File> {
        let queue = self.queues.pop().context("a TAP device without a queue")?;
        Ok(File::from(queue))
    }
}

fn attach(name: &str, queues: u32, flags: u16) -> Result<Tap> {
    ensure!(
        name.len() < NAME_SIZE && !name.contains(['/', '\0']),
        "`{name}` is not a name for a network interface"
    );
    let mut request = Request {
        name: [0; NAME_SIZE],
        flags: TAP | flags | if queues > 1 { MULTI_QUEUE } else { 0 },
        rest: [0; 22],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    let mut opened = Vec::new();
    for _ in 0..queues.max(1) {
        let queue = File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .context("cannot open /dev/net/tun")?;
        // The first call puts the whole name into the request; further queues belong to the same device.
        set_interface(&queue, &mut request)?;
        opened.push(OwnedFd::from(queue));
    }
    let name = request.name.split(|&byte| byte == 0).next();
    let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
    Ok(Tap { name, queues: opened })
}

fn set_interface(queue: impl AsFd, request: &mut Request) -> Result<()> {
    // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, which is 40 bytes long on 64-bit machines, as
    // `Request` is.
    unsafe { ioctl::ioctl(queue, Updater::<SET_INTERFACE, Request>::new(request)) }?;
    Ok(())
}

const _: () = assert!(size_of::<Request>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused() {
        assert!(Tap::check("no-such-tap").is_err());
        assert!(Tap::open("lo", 1).is_err());
        assert!(attach("a-name-that-is-too-long", 1, 0).is_err());
    }
}
