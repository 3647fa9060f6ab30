//! The other end of a network card.

use std::io;
use std::os::fd::BorrowedFd;

use super::parts::Parts;

/// Bytes in front of each frame that tell about it, as virtio has them (5.1.6).
pub const HEADER: usize = 12;

/// Where a card's frames go, and where they come from. An error ends the card: the host does not take what was
/// agreed on, or there is nobody any more.
pub trait Link: Send {
    /// Begins to carry frames for a driver that makes use of these features of the card.
    fn begin(&mut self, _features: u64) -> io::Result<()> {
        Ok(())
    }

    /// Takes the next frame, with a header in front; gives how long both are, `WouldBlock` when there is none.
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize>;

    /// Whether a frame can be sent now; if not, to be asked again when [`descriptor`](Self::descriptor) can be
    /// written to.
    fn has_room(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    /// Sends a frame with its header, from where its parts are. One that the host does not take is lost, as on a
    /// cable.
    fn send(&mut self, parts: Parts<'_>) -> io::Result<()>;

    /// What to wait for.
    fn descriptor(&self) -> BorrowedFd<'_>;
}

/// A write of several parts; gives how much of them was written, `None` for none. That the other end is gone is an
/// error.
pub fn write(file: BorrowedFd<'_>, parts: &Parts<'_>) -> io::Result<Option<usize>> {
    match parts.write(file) {
        Ok(sent) => Ok(Some(sent)),
        Err(error) => match error.raw_os_error() {
            // The interface, or the program, is gone.
            Some(libc::EBADFD | libc::EPIPE | libc::ECONNRESET) => Err(error),
            _ => Ok(None),
        },
    }
}
