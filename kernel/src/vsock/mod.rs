//! Streams between the machine and its host, without a network: sockets of the family `AF_VSOCK`.
//!
//! They come up at the first socket. An image holds them only when its program asks for them by `sys_vsock_init`
//! (decision 185).

#[cfg(any(target_os = "none", skete_lint_arch))]
mod end;
mod packets;
mod room;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod thread;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::debug::Line;
use crate::drivers::vsock::{Card, card};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, Result, fd, sched};
use room::Room;
pub use socket::{accept, bind, connect, local, peer};

/// Any CID (`VMADDR_CID_ANY`), or any port (`VMADDR_PORT_ANY`).
pub const ANY: u32 = u32::MAX;

/// Where a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The context: 2 is the host, and every machine has a number of its own.
    pub cid: u32,
    /// The port there.
    pub port: u32,
}

/// A new stream socket.
///
/// # Errors
///
/// [`Error::NoDevice`] when the machine has no socket device, which is told of; [`Error::OutOfMemory`].
pub fn stream(nonblocking: bool) -> Result<Arc<dyn fd::Object>> {
    let (id, signal) = lock()?.socket();
    socket::shared(id, signal, nonblocking)
}

static ROOM: Mutex<Option<Box<Room>>> = Mutex::new(None);

/// The lock on everything.
struct Guard(Option<MutexGuard<'static, Option<Box<Room>>>>);

/// Takes the lock; the first brings the device up.
fn lock() -> Result<Guard> {
    sched::hold();
    let mut guard = ROOM.lock_soon();
    if guard.is_none() {
        let Some(card) = card() else {
            drop(guard);
            sched::release();
            return Err(no_device());
        };
        begin(&mut guard, card);
    }
    Ok(Guard(Some(guard)))
}

fn begin(guard: &mut Option<Box<Room>>, card: Card) {
    card.set_wake(&thread::EVENTS);
    *guard = Some(Box::new(Room::new(card)));
    thread::start();
    #[cfg(any(target_os = "none", skete_lint_arch))]
    end::prepare();
}

impl Deref for Guard {
    type Target = Room;
    fn deref(&self) -> &Room {
        self.0
            .as_ref()
            .and_then(|guard| guard.as_deref())
            .expect("the room is there while its lock is held")
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Room {
        self.0
            .as_mut()
            .and_then(|guard| guard.as_deref_mut())
            .expect("the room is there while its lock is held")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let bell = self.card.bell();
        let woken = core::mem::take(&mut self.woken);
        let hurry = core::mem::take(&mut self.hurry);
        // The lock first: who is woken will want it, and a device may take its time to answer its bell.
        self.0 = None;
        if let Some(bell) = bell {
            bell.ring();
        }
        for signal in woken {
            signal.raise(false);
        }
        if hurry {
            thread::hurry();
        }
        sched::release();
    }
}

/// Says, once, that this machine has no socket device, and how it gets one.
fn no_device() -> Error {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Relaxed) {
        Line::new()
            .text("skete: no vsock device: there are no streams to the host; ")
            .text("run it with --vsock CID (QEMU: -device vhost-vsock-device or vhost-vsock-pci, guest-cid=CID)")
            .end();
    }
    Error::NoDevice
}
