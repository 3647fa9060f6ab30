//! TCP sockets that wait for connections.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use super::address::{Endpoint, Flow};
use super::frame::Protocol;
use super::signal::Signal;
use super::stack::{Entry, Stack};
use super::stream::{Holder, Options};
use crate::fd::poll::Events;
use crate::{Error, Result};

/// Connections that may wait to be accepted, at most, as on Linux.
const LONGEST_QUEUE: usize = 4096;
/// Connections that may be half open, at most, for each listener.
const HALF_OPEN: usize = 256;

/// A listener.
#[derive(Debug)]
pub struct Listener {
    /// What is set, and handed down to its connections.
    pub options: Options,
    /// Where it listens.
    pub local: Endpoint,
    /// For those who wait.
    pub signal: Arc<Signal>,
    /// How many may wait to be accepted.
    backlog: usize,
    /// Those who wait, the first first.
    queue: VecDeque<usize>,
    /// Those who have asked and have not answered yet, the oldest first.
    half_open: VecDeque<usize>,
}

impl Listener {
    /// What can be done without waiting.
    pub fn ready(&self) -> Events {
        if self.queue.is_empty() { Events::NONE } else { Events::READABLE }
    }
}

impl Stack {
    /// Makes a listener of a fresh socket, or changes how many may wait for one.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] when it is connected; [`Error::AddressInUse`] when it has no port and none is
    /// free.
    pub fn listen(&mut self, id: usize, backlog: usize) -> Result<()> {
        let backlog = backlog.clamp(1, LONGEST_QUEUE);
        let bound = match self.entries.get_mut(id) {
            Some(Entry::Listener(listener)) => {
                listener.backlog = backlog;
                return Ok(());
            }
            Some(Entry::Fresh(fresh)) => (fresh.bound, fresh.family),
            _ => return Err(Error::InvalidArgument),
        };
        if let (None, family) = bound {
            let any = Endpoint { address: super::address::unspecified(family), port: 0 };
            self.bind_fresh(id, any)?;
        }
        let Some(Entry::Fresh(fresh)) = self.entries.get(id) else {
            return Err(Error::InvalidArgument);
        };
        let Some(local) = fresh.bound else {
            return Err(Error::InvalidArgument);
        };
        if self.links.len() == 1 && !local.address.is_loopback() {
            // Nobody could ever reach it.
            return Err(super::no_device());
        }
        let listener = Listener {
            options: fresh.options,
            local,
            signal: fresh.signal.clone(),
            backlog,
            queue: VecDeque::new(),
            half_open: VecDeque::new(),
        };
        self.entries[id] = Entry::Listener(listener);
        Ok(())
    }

    /// Somebody asks for a connection.
    pub fn take_opening(&mut self, flow: Flow, link: usize, bytes: &[u8]) {
        let listens = |id| matches!(self.entries.get(id), Some(Entry::Listener(_)));
        let listener = self.claims.find(Protocol::Tcp, &flow, &listens);
        let Some(id) = listener else {
            return self.take_for_nobody(link, bytes);
        };
        let Some(Entry::Listener(listener)) = self.entries.get_mut(id) else {
            return;
        };
        if listener.queue.len() >= listener.backlog {
            // It will ask again, when there may be room.
            return;
        }
        let options = listener.options;
        if listener.half_open.len() >= HALF_OPEN
            && let Some(oldest) = listener.half_open.pop_front()
        {
            self.forget_stream(oldest);
        }
        if let Ok(stream) = self.open(flow, link, bytes, options, id)
            && let Some(Entry::Listener(listener)) = self.entries.get_mut(id)
        {
            listener.half_open.push_back(stream);
        }
    }

    /// A connection has been made that a listener has waited for.
    pub fn offer(&mut self, listener: usize, id: usize) {
        let Some(Entry::Listener(own)) = self.entries.get_mut(listener) else {
            return;
        };
        own.half_open.retain(|other| *other != id);
        own.queue.push_back(id);
        let signal = own.signal.clone();
        self.wake(&signal);
    }

    /// A connection that a listener has waited for is no more.
    pub fn withdraw(&mut self, listener: usize, id: usize) {
        if let Some(Entry::Listener(own)) = self.entries.get_mut(listener) {
            own.half_open.retain(|other| *other != id);
            own.queue.retain(|other| *other != id);
        }
    }

    /// Takes the first connection that waits.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] when the socket does not listen.
    pub fn accept(&mut self, id: usize) -> Result<Option<usize>> {
        let Some(Entry::Listener(listener)) = self.entries.get_mut(id) else {
            return Err(Error::InvalidArgument);
        };
        let Some(stream) = listener.queue.pop_front() else {
            return Ok(None);
        };
        self.stream(stream)?.holder = Holder::Descriptor;
        Ok(Some(stream))
    }

    /// A listener's descriptor has been closed: those who wait are sent away.
    pub fn release_listener(&mut self, id: usize) {
        let Some(Entry::Listener(listener)) = self.entries.try_remove(id) else {
            return;
        };
        self.claims.remove(Protocol::Tcp, listener.local.port, id);
        for stream in listener.half_open {
            self.forget_stream(stream);
        }
        for stream in listener.queue {
            if let Ok(own) = self.stream(stream) {
                own.options.linger = Some(0);
                self.release_stream(stream);
            }
        }
    }
}
