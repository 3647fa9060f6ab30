//! Ctrl-C where nobody sends signals: it ends the machine from outside, and a handler never runs.

use std::io;
use std::thread;

/// Platform specific error type
pub type Error = io::Error;

/// Platform specific signal type: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {}

/// Registers nothing, for there is nothing to wait for.
///
/// # Safety
///
/// As on the other platforms; it has no condition here.
#[inline]
pub unsafe fn init_os_handler(_overwrite: bool) -> Result<(), Error> {
    Ok(())
}

/// Waits for a Ctrl-C, which does not come.
///
/// # Safety
///
/// As on the other platforms; it has no condition here.
#[inline]
pub unsafe fn block_ctrl_c() -> Result<(), Error> {
    loop {
        thread::park();
    }
}
