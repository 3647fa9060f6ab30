//! Sockets as descriptors: calls that wait.

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::room::Room;
use super::{Address, lock};
use crate::fd::poll::Events;
use crate::fd::{Object, Parts, PartsMut};
use crate::net::option::{Name, Setting, Value};
use crate::net::signal::Signal;
use crate::net::{Flags, Kind, Shutdown, Socket};
use crate::{Error, Result, time};

/// A socket that a descriptor stands for.
#[derive(Debug)]
pub struct Handle {
    /// Its place in the room.
    id: usize,
    signal: Arc<Signal>,
    nonblocking: AtomicBool,
    /// In nanoseconds; 0 is without end.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
}

/// A socket that several descriptors may stand for.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub fn shared(id: usize, signal: Arc<Signal>, nonblocking: bool) -> Result<Arc<dyn Object>> {
    let handle = Handle {
        id,
        signal,
        nonblocking: AtomicBool::new(nonblocking),
        read_timeout: AtomicU64::new(0),
        write_timeout: AtomicU64::new(0),
    };
    #[cfg(target_os = "none")]
    let object = Arc::try_new(handle).map_err(|_| Error::OutOfMemory)?;
    #[cfg(not(target_os = "none"))]
    let object = Arc::new(handle);
    Ok(object)
}

/// Finds the socket behind an object: one of another family has no number.
fn number(object: &dyn Object) -> Option<usize> {
    match object.socket()?.option(Name::Number) {
        Ok(Value::Number(id)) => Some(id),
        _ => None,
    }
}

/// Takes a local address, of which either part may be [`ANY`]. `None` for an object that is no such socket.
pub fn bind(object: &dyn Object, address: Address) -> Option<Result<()>> {
    let id = number(object)?;
    Some(lock().and_then(|mut room| room.bind(id, address).map(drop)))
}

/// Connects. `None` for an object that is no such socket.
///
/// The errors are those of [`Socket::connect`].
pub fn connect(object: &dyn Object, peer: Address) -> Option<Result<()>> {
    let id = number(object)?;
    let begun = lock().and_then(|mut room| room.connect(id, peer, time::monotonic()));
    // The rest is a wait, which the socket does.
    Some(begun.and_then(|()| object.socket().map_or(Ok(()), |socket| socket.connect(None))))
}

/// Takes the next connection. `None` for an object that is no such socket.
pub fn accept(object: &dyn Object) -> Option<Result<(Arc<dyn Object>, Address)>> {
    number(object)?;
    let taken = object.socket()?.accept();
    Some(taken.and_then(|(connection, _)| {
        let address = peer(&*connection).unwrap_or(Err(Error::NotConnected))?;
        Ok((connection, address))
    }))
}

/// The own address. `None` for an object that is no such socket.
pub fn local(object: &dyn Object) -> Option<Result<Address>> {
    let id = number(object)?;
    Some(lock().map(|room| room.local(id)))
}

/// The address of the other side. `None` for an object that is no such socket.
pub fn peer(object: &dyn Object) -> Option<Result<Address>> {
    let id = number(object)?;
    Some(lock().and_then(|room| room.peer(id)))
}

impl Handle {
    /// Until when a call waits: 0 for not at all.
    fn deadline(&self, timeout: &AtomicU64, flags: Flags) -> Option<u64> {
        if flags.nonblocking || self.nonblocking.load(Relaxed) {
            return Some(0);
        }
        match timeout.load(Relaxed) {
            0 => None,
            timeout => Some(time::monotonic().saturating_add(timeout)),
        }
    }

    /// Waits until `attempt` gives something.
    fn wait<T>(
        &self,
        deadline: Option<u64>,
        mut attempt: impl FnMut(&mut Room) -> Result<Option<T>>,
    ) -> Result<T> {
        self.signal.wait(deadline, || attempt(&mut *lock()?))
    }

    fn write_all(&self, parts: Parts<'_>, flags: Flags) -> Result<usize> {
        let deadline = self.deadline(&self.write_timeout, flags);
        let mut total = 0;
        let mut rest: &[u8] = &[];
        let result = self.wait(deadline, |room| {
            loop {
                while rest.is_empty() {
                    match parts.next() {
                        Some(part) => rest = part,
                        None if total > 0 => return Ok(Some(())),
                        // Whether it could be written at all.
                        None => return room.write(self.id, &[]).map(|done| done.map(drop)),
                    }
                }
                match room.write(self.id, rest)? {
                    Some(length) => {
                        total += length;
                        rest = &rest[length..];
                    }
                    None => return Ok(None),
                }
            }
        });
        match result {
            Err(error) if total == 0 => Err(error),
            _ => Ok(total),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Ok(mut room) = lock() {
            room.release(self.id, time::monotonic());
        }
    }
}

impl Object for Handle {
    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.receive(buffer, Flags::default()).map(|(length, _)| length)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize> {
        self.send(bytes, None, Flags::default())
    }

    fn read_vectored(&self, parts: PartsMut<'_>) -> Result<usize> {
        let mut total = 0;
        let mut flags = Flags::default();
        for part in parts.filter(|part| !part.is_empty()) {
            match self.receive(part, flags) {
                Ok((length, _)) => {
                    total += length;
                    if length < part.len() {
                        break;
                    }
                }
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            }
            // Nobody waits for the rest.
            flags.nonblocking = true;
        }
        Ok(total)
    }

    fn write_vectored(&self, parts: Parts<'_>) -> Result<usize> {
        self.write_all(parts, Flags::default())
    }

    fn ready(&self) -> Events {
        self.signal.look(|| lock().map_or(Events::ERROR, |room| room.ready(self.id)))
    }

    fn idle(&self, wanted: Events) -> Option<Events> {
        self.signal.idle(wanted)
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Relaxed);
    }

    fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Relaxed)
    }

    fn socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

/// Addresses of IP are none of its own: [`bind`], [`connect`] and the others take and give those.
impl Socket for Handle {
    fn bind(&self, _local: SocketAddr) -> Result<()> {
        Err(Error::FamilyNotSupported)
    }

    fn listen(&self, backlog: usize) -> Result<()> {
        lock()?.listen(self.id, backlog)
    }

    fn accept(&self) -> Result<(Arc<dyn Object>, SocketAddr)> {
        let deadline = self.deadline(&self.read_timeout, Flags::default());
        let (id, signal, _) = self.wait(deadline, |room| room.accept(self.id))?;
        let none = SocketAddr::from(([0; 4], 0));
        Ok((shared(id, signal, false)?, none))
    }

    /// Without an address: waits for the connection that was asked for.
    fn connect(&self, peer: Option<SocketAddr>) -> Result<()> {
        if peer.is_some() {
            return Err(Error::FamilyNotSupported);
        }
        let deadline = self.deadline(&self.write_timeout, Flags::default());
        match self.wait(deadline, |room| room.connected(self.id)) {
            Err(Error::WouldBlock) => Err(Error::InProgress),
            result => result,
        }
    }

    fn receive(&self, buffer: &mut [u8], flags: Flags) -> Result<(usize, Option<SocketAddr>)> {
        let deadline = self.deadline(&self.read_timeout, flags);
        let read = self.wait(deadline, |room| room.read(self.id, buffer, flags.peek))?;
        Ok((read, None))
    }

    fn send(&self, bytes: &[u8], to: Option<SocketAddr>, flags: Flags) -> Result<usize> {
        match to {
            Some(_) => Err(Error::AlreadyConnected),
            None => self.write_all(&mut core::iter::once(bytes), flags),
        }
    }

    fn local(&self) -> Result<SocketAddr> {
        Err(Error::FamilyNotSupported)
    }

    fn peer(&self) -> Result<SocketAddr> {
        Err(Error::FamilyNotSupported)
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        lock()?.shutdown(self.id, how)
    }

    fn option(&self, name: Name) -> Result<Value> {
        let time = |timeout: &AtomicU64| {
            let timeout = timeout.load(Relaxed);
            Ok(Value::Time((timeout > 0).then_some(timeout)))
        };
        match name {
            Name::Number => Ok(Value::Number(self.id)),
            Name::Kind => Ok(Value::Kind(Kind::Stream)),
            Name::ReadTimeout => time(&self.read_timeout),
            Name::WriteTimeout => time(&self.write_timeout),
            Name::TakeError => Ok(Value::Error(lock()?.take_error(self.id))),
            Name::Listens => Ok(Value::Flag(lock()?.listens(self.id))),
            Name::ReceiveBuffer => Ok(Value::Number(lock()?.capacity(self.id))),
            _ => Err(Error::NoSuchOption),
        }
    }

    fn set_option(&self, setting: Setting) -> Result<()> {
        let (place, time) = match setting {
            Setting::ReadTimeout(time) => (&self.read_timeout, time),
            Setting::WriteTimeout(time) => (&self.write_timeout, time),
            // The buffers are as large as memory allows.
            Setting::ReceiveBuffer(_) | Setting::SendBuffer(_) => return Ok(()),
            _ => return Err(Error::NoSuchOption),
        };
        place.store(time.unwrap_or(0), Relaxed);
        Ok(())
    }
}
