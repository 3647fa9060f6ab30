//! Hypercalls, as crate `uhyve-interface` has them.
//!
//! A guest is not trusted. Every address that it gives is checked against its memory; each field of its
//! parameters is read once, so that another processor cannot change it between check and use; nothing of a
//! call's can make the monitor wait, but a write to a standard stream.

/// Reads fields of the parameters at an address, each of them once.
macro_rules! fields {
    ($context:expr, $at:expr, $parameters:ident { $($field:ident: $type:ty),+ }) => {
        ($($context.read::<$type>($at, offset_of!($parameters, $field))?),+)
    };
}

mod own;
mod v1;
mod v2;

use rustix::io::Errno;
use vm_memory::{ByteValued, Bytes, GuestAddress};

use crate::console::Console;
use crate::files::Files;
use crate::memory::Memory;
use crate::options::Options;

/// What calls work on.
pub struct Context {
    /// The guest's memory.
    pub memory: Memory,
    /// Its standard streams.
    pub console: Console,
    /// What it sees of the host's files.
    pub files: Files,
    /// How it is run.
    pub options: Options,
}

/// What a call leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The guest goes on.
    Continue,
    /// The guest has ended with this status.
    Exit(i32),
    /// The guest is to be ended: the parameters, at this address, are not in its memory.
    NoParameters(u64),
    /// Nobody reads the guest's output any more.
    ReaderGone,
}

/// The outcome of a call's handler: an error is one that the parameters have no place for.
type Done = Result<(), Flow>;

/// What a guest has done when it writes to a port: `argument` is what it has in `rdi`, `value` what it has
/// written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The port.
    pub port: u16,
    /// The argument of version 2.
    pub argument: u64,
    /// The argument of version 1.
    pub value: u32,
}

impl Context {
    /// Does a call; `None` when the port is none's. `tables` tells where the page tables are that the guest uses.
    pub fn handle(&self, call: Call, tables: &dyn Fn() -> u64) -> Option<Flow> {
        let done = match uhyve_interface::v2::HypercallAddress::try_from(u64::from(call.port)) {
            Ok(number) => v2::handle(self, number, call.argument),
            Err(_) if call.port == own::PORT => own::handle(self, call.argument),
            Err(_) => {
                let number = uhyve_interface::v1::HypercallAddress::try_from(call.port).ok()?;
                v1::handle(self, number, call.value.into(), tables)
            }
        };
        Some(done.map_or_else(|flow| flow, |()| Flow::Continue))
    }

    /// The name of the call behind a port, with its number of the interface.
    pub fn name(port: u16) -> Option<String> {
        match uhyve_interface::v2::HypercallAddress::try_from(u64::from(port)) {
            Ok(number) => Some(format!("{number:?}")),
            Err(_) if port == own::PORT => Some("Change".to_owned()),
            Err(_) => {
                let number = uhyve_interface::v1::HypercallAddress::try_from(port).ok()?;
                Some(format!("{number:?} (version 1)"))
            }
        }
    }

    /// Reads a field of the parameters.
    fn read<T: ByteValued>(&self, parameters: u64, offset: usize) -> Result<T, Flow> {
        let address = parameters.checked_add(offset as u64).map(GuestAddress);
        let read = address.and_then(|address| self.memory.map().read_obj(address).ok());
        read.ok_or(Flow::NoParameters(parameters))
    }

    /// Writes a field of the parameters.
    fn write<T: ByteValued>(&self, parameters: u64, offset: usize, value: T) -> Done {
        let address = parameters.checked_add(offset as u64).map(GuestAddress);
        let written = address.and_then(|address| self.memory.map().write_obj(value, address).ok());
        written.ok_or(Flow::NoParameters(parameters))
    }

    /// A text that ends with a zero, of at most a path's length.
    fn path(&self, address: u64) -> Result<String, Errno> {
        const PIECE: usize = 256;
        let mut bytes = Vec::new();
        while bytes.len() < libc::PATH_MAX as usize {
            let mut piece = [0; PIECE];
            let at = address.checked_add(bytes.len() as u64).ok_or(Errno::FAULT)?;
            let got =
                self.memory.map().read(&mut piece, GuestAddress(at)).map_err(|_| Errno::FAULT)?;
            let piece = &piece[..got];
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                bytes.extend_from_slice(&piece[..end]);
                return String::from_utf8(bytes).map_err(|_| Errno::ILSEQ);
            }
            if got == 0 {
                return Err(Errno::FAULT);
            }
            bytes.extend_from_slice(piece);
        }
        Err(Errno::NAMETOOLONG)
    }

    /// Writes to a standard stream; gives the number of bytes, or an error's number.
    fn print(&self, stream: i32, address: u64, length: u64) -> Result<i64, Flow> {
        match self.console.write(stream, &self.memory, address, length) {
            Ok(()) => Ok(length as i64),
            Err(Errno::PIPE) => Err(Flow::ReaderGone),
            Err(error) => Ok(-i64::from(error.raw_os_error())),
        }
    }
}
