//! What comes and what is due: packets, answers, the end of connections.

use alloc::vec::Vec;

use virtio::vsock::{Op, Type};

use super::Address;
use super::room::{Entry, Room};
use super::stream::{After, Holder, State, Stream};
use crate::Error;
use crate::drivers::vsock::{Header, Packet};
use crate::net::Shutdown;

/// How long the other side may take to end a connection that was closed here, in nanoseconds, as on Linux.
const CLOSE: u64 = 8_000_000_000;
/// Answers that wait for room in the device, at most: beyond, who asks gets none.
const MOST_ANSWERS: usize = 1024;

impl Room {
    /// Sends a packet without payload, now or when there is room.
    pub(super) fn answer(&mut self, header: Header) {
        let at_once = self.answers.is_empty() && self.card.send(&header, &[]);
        if !at_once && self.answers.len() < MOST_ANSWERS {
            self.answers.push_back(header);
        }
    }

    pub(super) fn tell(&mut self, id: usize, operation: Op) {
        if let Ok(stream) = self.stream(id) {
            let header = stream.header(operation);
            self.answer(header);
        }
    }

    /// Takes a socket out of the books.
    fn forget(&mut self, id: usize) -> Option<Entry> {
        let entry = self.entries.try_remove(id)?;
        let port = match &entry {
            Entry::Fresh(_, port) => *port,
            Entry::Listener(_, port, ..) => Some(*port),
            Entry::Stream(stream, port) => {
                let flow = (stream.local.port, stream.peer);
                if self.flows.get(&flow) == Some(&id) {
                    self.flows.remove(&flow);
                }
                if let Holder::Listener(listener) = stream.holder
                    && let Some(Entry::Listener(_, _, _, queue)) = self.entries.get_mut(listener)
                {
                    queue.retain(|other| *other != id);
                }
                *port
            }
        };
        if let Some(port) = port {
            self.ports.remove(&port);
        }
        Some(entry)
    }

    /// Ends a connection at once, and tells the other side.
    pub(super) fn reset(&mut self, id: usize) {
        self.tell(id, Op::Rst);
        self.over(id, Error::ConnectionReset);
    }

    /// A connection is no more.
    fn over(&mut self, id: usize, error: Error) {
        let Ok(stream) = self.stream(id) else { return };
        stream.end(error);
        let (flow, holder) = ((stream.local.port, stream.peer), stream.holder);
        if self.flows.get(&flow) == Some(&id) {
            self.flows.remove(&flow);
        }
        match holder {
            Holder::Nobody => _ = self.forget(id),
            // Those who wait to be accepted may still be read from.
            _ => self.wake(id),
        }
    }

    /// A socket's last descriptor has been closed.
    pub fn release(&mut self, id: usize, now: u64) {
        match self.entries.get_mut(id) {
            Some(Entry::Stream(stream, _)) if stream.state == State::Connected => {
                stream.holder = Holder::Nobody;
                stream.discard();
                if stream.is_left() {
                    return self.reset(id);
                }
                stream.shut(Shutdown::Both);
                stream.state = State::Closing;
                stream.deadline = Some(now.saturating_add(CLOSE));
                self.hurry = true;
                self.tell(id, Op::Shutdown);
            }
            Some(Entry::Stream(stream, _)) if stream.state == State::Connecting => {
                stream.holder = Holder::Nobody;
                self.reset(id);
            }
            _ => {
                if let Some(Entry::Listener(_, _, _, queue)) = self.forget(id) {
                    // Those who wait are sent away.
                    for waiting in queue {
                        self.tell(waiting, Op::Rst);
                        self.forget(waiting);
                    }
                }
            }
        }
    }

    /// Takes what the device brings, and does what is due.
    pub fn work(&mut self, now: u64) {
        self.card.look_after_change();
        while let Some(packet) = self.card.receive() {
            self.take(&packet);
            self.card.give_back(packet);
        }
        if self.card.take_reset() || !self.card.works() {
            self.end_all();
        }
        let due = |stream: &Stream| stream.deadline.is_some_and(|deadline| deadline <= now);
        let late: Vec<usize> = self.streams(due).collect();
        for id in late {
            self.tell(id, Op::Rst);
            self.over(id, Error::TimedOut);
        }
        while let Some(header) = self.answers.pop_front() {
            if !self.card.send(&header, &[]) {
                self.answers.push_front(header);
                break;
            }
        }
        if self.card.take_unblocked() {
            let all = self.streams(|stream| stream.state == State::Connected);
            let all: Vec<usize> = all.collect();
            all.into_iter().for_each(|id| self.wake(id));
        }
    }

    /// The numbers of some connections.
    fn streams(&self, which: impl Fn(&Stream) -> bool) -> impl Iterator<Item = usize> {
        self.entries.iter().filter_map(move |(id, entry)| match entry {
            Entry::Stream(stream, _) => which(stream).then_some(id),
            _ => None,
        })
    }

    /// When something is due.
    pub fn next(&self) -> Option<u64> {
        let deadlines = self.entries.iter().filter_map(|(_, entry)| match entry {
            Entry::Stream(stream, _) => stream.deadline,
            _ => None,
        });
        deadlines.min()
    }

    /// The host has forgotten all connections, or nothing more can be said to it.
    fn end_all(&mut self) {
        if self.card.works() {
            self.cid = self.card.cid() as u32;
        }
        self.answers.clear();
        let all: Vec<usize> = self.streams(|_| true).collect();
        for id in all {
            self.over(id, Error::ConnectionReset);
        }
        if !self.card.works() {
            for (_, entry) in &self.entries {
                if let Entry::Listener(signal, ..) = entry {
                    self.woken.push(signal.clone());
                }
            }
        }
    }

    fn take(&mut self, packet: &Packet) {
        let header = &packet.header;
        // What is for others (5.10.6.4), or from nobody.
        if header.to.0 != u64::from(self.cid) {
            return;
        }
        let Ok(cid) = u32::try_from(header.from.0) else {
            return;
        };
        let peer = Address { cid, port: header.from.1 };
        let port = header.to.1;
        let is_stream = header.kind == u16::from(Type::Stream);
        let known = self.flows.get(&(port, peer)).copied().filter(|_| is_stream);
        let Some(id) = known else {
            let wished = is_stream && header.operation == u16::from(Op::Request);
            if !(wished && self.offer(port, peer, packet)) && header.operation != u16::from(Op::Rst)
            {
                self.refuse(header);
            }
            return;
        };
        let Ok(stream) = self.stream(id) else { return };
        match stream.take(header, packet.payload()) {
            After::Nothing => self.wake(id),
            After::Tell => self.tell(id, Op::CreditUpdate),
            After::Made => {
                stream.state = State::Connected;
                stream.deadline = None;
                self.wake(id);
            }
            After::Reset => self.reset(id),
            After::Over => self.over(id, Error::ConnectionReset),
        }
    }

    /// Somebody asks for a connection; false when nobody has room for it.
    fn offer(&mut self, port: u32, peer: Address, packet: &Packet) -> bool {
        let Some(listener) = self.ports.get(&port).copied() else {
            return false;
        };
        match self.entries.get(listener) {
            Some(Entry::Listener(_, _, most, queue)) if queue.len() < *most => {}
            _ => return false,
        }
        let local = Address { cid: self.cid, port };
        let mut stream = Stream::new(local, peer, State::Connected, Holder::Listener(listener));
        // What it has room for; there is nothing else in it.
        let mut header = packet.header;
        header.operation = Op::CreditUpdate.into();
        stream.take(&header, &[]);
        let id = self.entries.insert(Entry::Stream(stream, None));
        self.flows.insert((port, peer), id);
        self.tell(id, Op::Response);
        if let Some(Entry::Listener(signal, _, _, queue)) = self.entries.get_mut(listener) {
            queue.push_back(id);
            self.woken.push(signal.clone());
        }
        true
    }

    /// Answers a packet that belongs to no connection.
    fn refuse(&mut self, header: &Header) {
        self.answer(Header {
            from: header.to,
            to: header.from,
            kind: header.kind,
            operation: Op::Rst.into(),
            ..Header::default()
        });
    }

    /// Closes every connection, for the machine ends.
    #[cfg(any(test, target_os = "none", skete_lint_arch))]
    pub fn close_all(&mut self, now: u64) {
        let open = self.streams(|stream| stream.state == State::Connected);
        let open: Vec<usize> = open.collect();
        for id in open {
            if let Ok(stream) = self.stream(id) {
                stream.holder = Holder::Nobody;
            }
            self.release(id, now);
        }
    }

    /// How many connections the other side has not ended yet.
    #[cfg(any(test, target_os = "none", skete_lint_arch))]
    pub fn left(&mut self) -> usize {
        let closing = self.streams(|stream| stream.state == State::Closing).count();
        // The last answers have to be taken, too.
        let drained = self.answers.is_empty() && self.card.is_drained();
        closing + usize::from(!drained)
    }
}
