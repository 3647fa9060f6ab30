//! All sockets, and the device that their packets go through.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use slab::Slab;
use virtio::vsock::Op;

use super::stream::{Holder, State, Stream};
use super::{ANY, Address};
use crate::drivers::vsock::{Card, Header};
use crate::fd::poll::Events;
use crate::net::Shutdown;
use crate::net::signal::Signal;
use crate::{Error, Result};

/// How long an answer to a wish for a connection is waited for, in nanoseconds, as on Linux.
const CONNECT: u64 = 2_000_000_000;
/// Connections that may wait to be accepted, at most.
const LONGEST_QUEUE: usize = 1024;
/// Ports that nobody asks for by number begin here.
const FIRST_PORT: u32 = 49152;
/// The machine itself.
const LOCAL: u32 = 1;

/// A socket.
#[derive(Debug)]
pub enum Entry {
    /// Before it is known which side it will be.
    Fresh(Arc<Signal>, Option<u32>),
    /// Waits for connections: on a port, so many at most, those that have come.
    Listener(Arc<Signal>, u32, usize, VecDeque<usize>),
    /// A connection, and the port that it has for itself.
    Stream(Stream, Option<u32>),
}

/// Everything.
#[derive(Debug)]
pub struct Room {
    /// The device.
    pub card: Card,
    pub(super) cid: u32,
    pub(super) entries: Slab<Entry>,
    /// The sockets that have a port for themselves.
    pub(super) ports: BTreeMap<u32, usize>,
    /// Connections by the own port and the other end.
    pub(super) flows: BTreeMap<(u32, Address), usize>,
    next_port: u32,
    /// What there was no room for in the device.
    pub(super) answers: VecDeque<Header>,
    /// Those who are woken when the lock is free.
    pub woken: Vec<Arc<Signal>>,
    /// The next deadline has become earlier.
    pub hurry: bool,
}

impl Room {
    /// No sockets.
    pub fn new(card: Card) -> Room {
        Room {
            cid: card.cid() as u32,
            card,
            entries: Slab::new(),
            ports: BTreeMap::new(),
            flows: BTreeMap::new(),
            next_port: FIRST_PORT,
            answers: VecDeque::new(),
            woken: Vec::new(),
            hurry: false,
        }
    }

    /// A new socket.
    pub fn socket(&mut self) -> (usize, Arc<Signal>) {
        let signal = Arc::new(Signal::default());
        let id = self.entries.insert(Entry::Fresh(signal.clone(), None));
        (id, signal)
    }

    pub(super) fn stream(&mut self, id: usize) -> Result<&mut Stream> {
        match self.entries.get_mut(id) {
            Some(Entry::Stream(stream, _)) => Ok(stream),
            _ => Err(Error::NotConnected),
        }
    }

    pub(super) fn wake(&mut self, id: usize) {
        if let Ok(stream) = self.stream(id) {
            let signal = stream.signal.clone();
            self.woken.push(signal);
        }
    }

    /// A port that nobody has for itself.
    fn free_port(&mut self) -> u32 {
        loop {
            let port = self.next_port;
            self.next_port = match port + 1 {
                ANY => FIRST_PORT,
                next => next,
            };
            if !self.ports.contains_key(&port) {
                return port;
            }
        }
    }

    /// Takes a port for a fresh socket; [`ANY`] is one that is free.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`]; [`Error::AddressNotAvailable`]; [`Error::InvalidArgument`] when it has one.
    pub fn bind(&mut self, id: usize, local: Address) -> Result<u32> {
        if ![self.cid, ANY].contains(&local.cid) {
            return Err(Error::AddressNotAvailable);
        }
        let port = match local.port {
            ANY => self.free_port(),
            port if self.ports.contains_key(&port) => return Err(Error::AddressInUse),
            port => port,
        };
        match self.entries.get_mut(id) {
            Some(Entry::Fresh(_, own @ None)) => *own = Some(port),
            _ => return Err(Error::InvalidArgument),
        }
        self.ports.insert(port, id);
        Ok(port)
    }

    /// Makes a listener of a fresh socket, or changes how many may wait for one.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] when it is connected.
    pub fn listen(&mut self, id: usize, backlog: usize) -> Result<()> {
        let most = backlog.clamp(1, LONGEST_QUEUE);
        let (signal, port) = match self.entries.get_mut(id) {
            Some(Entry::Listener(_, _, own, _)) => {
                *own = most;
                return Ok(());
            }
            Some(Entry::Fresh(signal, port)) => (signal.clone(), *port),
            _ => return Err(Error::InvalidArgument),
        };
        let any = Address { cid: ANY, port: ANY };
        let port = match port {
            Some(port) => port,
            None => self.bind(id, any)?,
        };
        self.entries[id] = Entry::Listener(signal, port, most, VecDeque::new());
        Ok(())
    }

    /// Takes the first connection that waits.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] when the socket does not listen; [`Error::NetworkDown`].
    pub fn accept(&mut self, id: usize) -> Result<Option<(usize, Arc<Signal>, Address)>> {
        let works = self.card.works();
        let Some(Entry::Listener(_, _, _, queue)) = self.entries.get_mut(id) else {
            return Err(Error::InvalidArgument);
        };
        let Some(first) = queue.pop_front() else {
            return if works { Ok(None) } else { Err(Error::NetworkDown) };
        };
        let stream = self.stream(first)?;
        stream.holder = Holder::Descriptor;
        Ok(Some((first, stream.signal.clone(), stream.peer)))
    }

    /// Asks for a connection.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyInProgress`]; [`Error::AlreadyConnected`]; [`Error::NetworkUnreachable`];
    /// [`Error::NetworkDown`].
    pub fn connect(&mut self, id: usize, peer: Address, now: u64) -> Result<()> {
        let (signal, port) = match self.entries.get_mut(id) {
            Some(Entry::Fresh(signal, port)) => (signal.clone(), *port),
            Some(Entry::Stream(stream, _)) => {
                return Err(match stream.error.take() {
                    _ if stream.state == State::Connecting => Error::AlreadyInProgress,
                    Some(error) => error,
                    None => Error::AlreadyConnected,
                });
            }
            _ => return Err(Error::InvalidArgument),
        };
        if !self.card.works() {
            return Err(Error::NetworkDown);
        }
        // There is no way from the machine to itself.
        if [self.cid, LOCAL, 0, ANY].contains(&peer.cid) {
            return Err(Error::NetworkUnreachable);
        }
        let any = Address { cid: ANY, port: ANY };
        let port = match port {
            Some(port) => port,
            None => self.bind(id, any)?,
        };
        if self.flows.contains_key(&(port, peer)) {
            return Err(Error::AddressInUse);
        }
        let local = Address { cid: self.cid, port };
        let mut stream = Stream::new(local, peer, State::Connecting, Holder::Descriptor);
        stream.signal = signal;
        stream.deadline = Some(now.saturating_add(CONNECT));
        self.hurry = true;
        self.entries[id] = Entry::Stream(stream, Some(port));
        self.flows.insert((port, peer), id);
        self.tell(id, Op::Request);
        Ok(())
    }

    /// Whether a connection that was asked for is there; `None` while nobody knows.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn connected(&mut self, id: usize) -> Result<Option<()>> {
        let stream = self.stream(id)?;
        match stream.error.take() {
            Some(error) => Err(error),
            None => Ok((stream.state != State::Connecting).then_some(())),
        }
    }

    /// Reads what was received; `None` when nothing was yet.
    ///
    /// # Errors
    ///
    /// What has gone wrong with the connection.
    pub fn read(&mut self, id: usize, buffer: &mut [u8], peek: bool) -> Result<Option<usize>> {
        let stream = self.stream(id)?;
        let result = stream.read(buffer, peek);
        if stream.should_tell() {
            self.tell(id, Op::CreditUpdate);
        } else if stream.is_finished() {
            // The other side has closed, and waits for this.
            self.reset(id);
        }
        result
    }

    /// Sends what there is room for; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::BrokenPipe`] when nobody will read it; what has gone wrong with the connection.
    pub fn write(&mut self, id: usize, bytes: &[u8]) -> Result<Option<usize>> {
        let mut done = 0;
        loop {
            let stream = self.stream(id)?;
            let Some(credit) = stream.may_send()? else {
                return Ok(None);
            };
            if done == bytes.len() {
                return Ok(Some(done));
            }
            if credit == 0 {
                if stream.should_ask() {
                    self.tell(id, Op::CreditRequest);
                }
                break;
            }
            // What waits for room goes first.
            let room = if self.answers.is_empty() { self.card.room() } else { None };
            let Some(room) = room else { break };
            let length = credit.min(room).min(bytes.len() - done);
            let stream = self.stream(id)?;
            let header = stream.header(Op::Rw);
            stream.note_sent(length);
            self.card.send(&header, &bytes[done..done + length]);
            done += length;
        }
        Ok((done > 0).then_some(done))
    }

    /// Shuts a connection's halves.
    ///
    /// # Errors
    ///
    /// [`Error::NotConnected`].
    pub fn shutdown(&mut self, id: usize, how: Shutdown) -> Result<()> {
        let stream = self.stream(id)?;
        if stream.state != State::Connected {
            return Err(Error::NotConnected);
        }
        stream.shut(how);
        self.tell(id, Op::Shutdown);
        self.wake(id);
        Ok(())
    }

    /// What can be done without waiting.
    pub fn ready(&self, id: usize) -> Events {
        match self.entries.get(id) {
            // As on Linux: nothing would wait, and nothing would come.
            Some(Entry::Fresh(..)) => Events::WRITABLE | Events::HUNG_UP,
            Some(Entry::Listener(_, _, _, queue)) if queue.is_empty() => Events::NONE,
            Some(Entry::Listener(..)) => Events::READABLE,
            Some(Entry::Stream(stream, _)) => stream.ready(),
            None => Events::ERROR,
        }
    }

    /// The own address.
    pub fn local(&self, id: usize) -> Address {
        let any = Address { cid: ANY, port: ANY };
        match self.entries.get(id) {
            Some(Entry::Fresh(_, Some(port)) | Entry::Listener(_, port, ..)) => {
                Address { port: *port, ..any }
            }
            Some(Entry::Stream(stream, _)) => stream.local,
            _ => any,
        }
    }

    /// The address of the other side.
    ///
    /// # Errors
    ///
    /// [`Error::NotConnected`].
    pub fn peer(&self, id: usize) -> Result<Address> {
        match self.entries.get(id) {
            Some(Entry::Stream(stream, _)) if stream.state != State::Connecting => Ok(stream.peer),
            _ => Err(Error::NotConnected),
        }
    }

    /// The error that a socket has met, which is taken away by this.
    pub fn take_error(&mut self, id: usize) -> Option<Error> {
        self.stream(id).ok()?.error.take()
    }

    /// Whether it accepts connections.
    pub fn listens(&self, id: usize) -> bool {
        matches!(self.entries.get(id), Some(Entry::Listener(..)))
    }

    /// Bytes that a connection keeps at most.
    pub fn capacity(&mut self, id: usize) -> usize {
        self.stream(id).map_or(0, |stream| stream.capacity())
    }

    /// True when nothing is left in the books.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.ports.is_empty() && self.flows.is_empty()
    }
}
