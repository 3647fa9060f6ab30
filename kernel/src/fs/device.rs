//! The files below `/dev` (Linux, null(4), full(4), random(4)): no bytes of their own, but a behaviour.

use crate::{Error, Result, console, random};

/// What reading and writing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// Empty; takes everything.
    Null,
    /// Zeros without end; takes everything.
    Zero,
    /// Zeros without end; has room for nothing.
    Full,
    /// Random bytes without end, fit for keys; takes everything.
    Random,
    /// Standard input.
    Input,
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

impl Device {
    /// Every device with its name in `/dev`.
    pub const ALL: [(&'static str, Device); 8] = [
        ("/dev/null", Device::Null),
        ("/dev/zero", Device::Zero),
        ("/dev/full", Device::Full),
        ("/dev/random", Device::Random),
        ("/dev/urandom", Device::Random),
        ("/dev/stdin", Device::Input),
        ("/dev/stdout", Device::Output),
        ("/dev/stderr", Device::Error),
    ];

    /// Whether positions make sense, and reading or writing at one, even if nothing depends on it.
    ///
    /// # Errors
    ///
    /// [`Error::NotSeekable`] for the streams.
    pub const fn seekable(self) -> Result<()> {
        match self {
            Device::Input | Device::Output | Device::Error => Err(Error::NotSeekable),
            _ => Ok(()),
        }
    }

    /// Reads; 0 is the end.
    ///
    /// # Errors
    ///
    /// Those of [`random::fill`] and [`console::read`]; [`Error::BadDescriptor`] for an output.
    pub fn read(self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Device::Null => return Ok(0),
            Device::Zero | Device::Full => buffer.fill(0),
            Device::Random => random::fill(buffer)?,
            Device::Input => return console::read(buffer),
            Device::Output | Device::Error => return Err(Error::BadDescriptor),
        }
        Ok(buffer.len())
    }

    /// Writes.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`] for [`Device::Full`]; [`Error::BadDescriptor`] for the input.
    pub fn write(self, bytes: &[u8]) -> Result<usize> {
        match self {
            Device::Null | Device::Zero | Device::Random => {}
            Device::Full if bytes.is_empty() => {}
            Device::Full => return Err(Error::NoSpace),
            Device::Input => return Err(Error::BadDescriptor),
            Device::Output => console::write_output(bytes),
            Device::Error => console::write_error(bytes),
        }
        Ok(bytes.len())
    }
}
