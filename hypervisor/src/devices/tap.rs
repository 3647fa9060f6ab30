//! TAP devices: network interfaces of the host whose other end is a program (Linux,
//! `Documentation/networking/tuntap.rst`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, bail};

/// Bytes in front of each frame, as virtio has them.
pub const HEADER: usize = 12;

const SET_INTERFACE: libc::c_ulong = 0x4004_54ca;
/// `TUNSETOFFLOAD`.
pub const SET_OFFLOADS: u64 = 0x4004_54d0;
const SET_HEADER_SIZE: libc::c_ulong = 0x4004_54d8;

/// Frames with their Ethernet header and nothing before it but virtio's.
const FLAGS: i16 = 0x0002 | 0x1000 | 0x4000;

/// What the guest takes: missing checksums, large segments of TCP over IPv4 and IPv6.
pub const CHECKSUM: u32 = 1;
/// See [`CHECKSUM`].
pub const SEGMENTS_V4: u32 = 2;
/// See [`CHECKSUM`].
pub const SEGMENTS_V6: u32 = 4;

/// Opens the interface `name`, which is made when there is none and the user may.
///
/// # Errors
///
/// What to do when it is not permitted.
pub fn open(name: &str) -> Result<File> {
    let mut request = [0u8; 40];
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('/') {
        bail!("`{name}` is no name of a network interface");
    }
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[libc::IFNAMSIZ..libc::IFNAMSIZ + 2].copy_from_slice(&FLAGS.to_ne_bytes());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .context("/dev/net/tun cannot be opened: load the module tun")?;
    // SAFETY: the calls read and write the request, which is as large as theirs, and a number.
    let done = unsafe {
        let size = HEADER as libc::c_int;
        let made = libc::ioctl(file.as_raw_fd(), SET_INTERFACE, request.as_mut_ptr());
        if made == 0 {
            libc::ioctl(file.as_raw_fd(), SET_HEADER_SIZE, &raw const size)
        } else {
            made
        }
    };
    if done == 0 {
        return Ok(file);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EPERM) => bail!(
            "the interface {name} may not be used: make it for this user (`sudo ip tuntap add {name} mode tap user $USER`), or run as root"
        ),
        Some(libc::EBUSY) => bail!("the interface {name} is in use by another program"),
        _ => Err(error).with_context(|| format!("the interface {name} cannot be used")),
    }
}

/// Says what may be left to the guest.
///
/// # Errors
///
/// Those of the kernel.
pub fn set_offloads(file: &File, offloads: u32) -> io::Result<()> {
    // SAFETY: the call takes a number.
    match unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            SET_OFFLOADS,
            libc::c_ulong::from(offloads),
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
