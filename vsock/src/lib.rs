//! Streams between a virtual machine and its host, without a network: sockets of the family `AF_VSOCK`, in the
//! manner of [`std::net`].
//!
//! The same program runs in a machine (on Skete and on Hermit) and on a Linux host. An image holds the sockets only
//! when its program uses this crate.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use skete_vsock::{VMADDR_CID_HOST, VsockAddr, VsockStream};
//!
//! let mut stream = VsockStream::connect(VsockAddr::new(VMADDR_CID_HOST, 1024))?;
//! stream.write_all(b"hello")?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod address;
mod listener;
mod stream;
mod sys;

pub use address::{VMADDR_CID_ANY, VMADDR_CID_HOST, VMADDR_CID_LOCAL, VMADDR_PORT_ANY, VsockAddr};
pub use listener::{Incoming, VsockListener};
pub use stream::VsockStream;
