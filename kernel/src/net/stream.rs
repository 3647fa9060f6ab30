//! TCP connections.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{self, CongestionControl, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::IpListenEndpoint;

use super::address::{Endpoint, Flow};
use super::claims::{Claim, ephemeral};
use super::closed::Last;
use super::frame::{Protocol, Segment};
use super::link::LOOPBACK;
use super::ring::Ring;
use super::signal::Signal;
use super::stack::{Entry, Stack, Which};
use super::{Family, Shutdown};
use crate::fd::poll::Events;
use crate::{Error, Result};

/// How long a connection may take to be made: as Linux, which asks seven times.
const CONNECTING: Duration = Duration::from_secs(127);
/// How long the other side may be silent while something waits for its acknowledgement.
const SILENCE: Duration = Duration::from_secs(900);
/// The same when nobody here has the connection any more.
const ORPHANED: Duration = Duration::from_secs(60);
/// When a packet for which the card had no room is tried again.
const RETRY: Duration = Duration::from_millis(10);
/// How long an idle connection with probes may be silent beyond the first: as Linux, nine times 75 s.
const PROBING: Duration = Duration::from_secs(675);
/// How often a neighbour is asked for, a second apart, before it counts as not there.
const NEIGHBOR_TRIES: u8 = 3;

/// What is set on a TCP socket.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Small segments are not held back.
    pub no_delay: bool,
    /// Idle connections are probed.
    pub keep_alive: bool,
    /// How often.
    pub keep_alive_interval: u32,
    /// Routers that packets may pass.
    pub hop_limit: u8,
    /// What `close` does: in nanoseconds.
    pub linger: Option<u64>,
    /// Bind although others that say the same have the port.
    pub reuse_address: bool,
    /// The same, and each connection is for one of them.
    pub reuse_port: bool,
    /// Not for IPv4.
    pub v6_only: bool,
    /// Kept, and without a meaning for TCP.
    pub broadcast: bool,
}

impl Options {
    /// What is set when nobody has said otherwise.
    pub const DEFAULT: Options = Options {
        no_delay: false,
        keep_alive: false,
        keep_alive_interval: 7200,
        hop_limit: 64,
        linger: None,
        reuse_address: false,
        reuse_port: false,
        v6_only: false,
        broadcast: false,
    };
}

/// A socket that neither listens nor is connected.
#[derive(Debug)]
pub struct Fresh {
    /// Its family.
    pub family: Family,
    /// What is set.
    pub options: Options,
    /// The port it claims, if any.
    pub bound: Option<Endpoint>,
    /// For those who wait.
    pub signal: Arc<Signal>,
}

/// Who has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A descriptor.
    Descriptor,
    /// A listener, which will hand it on.
    Listener(usize),
    /// Nobody: it is on its way out since then.
    Nobody(Instant),
}

/// What was last known of a connection, to tell what has changed.
#[derive(Clone, Copy, Debug)]
struct Seen {
    state: State,
    received: usize,
    room: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Stream {
    set: SocketSet<'static>,
    handle: SocketHandle,
    /// Lent to the socket.
    rings: [Ring; 2],
    /// The link it goes over.
    pub link: usize,
    /// Both sides.
    pub flow: Flow,
    /// What is set.
    pub options: Options,
    /// The claim of who has bound before connecting.
    bound: Option<u16>,
    /// For those who wait.
    pub signal: Arc<Signal>,
    /// Who has it.
    pub holder: Holder,
    /// What has gone wrong, until it is told.
    pub error: Option<Error>,
    /// When it is looked at again.
    pub timer: Option<Instant>,
    /// It stands among those that have something to do.
    pub dirty: bool,
    /// Nothing is read any more.
    read_shut: bool,
    seen: Seen,
    /// When the other side was heard last.
    pub heard: Instant,
    /// The last segment that was heard.
    last: Option<Segment>,
    /// How often the neighbour was asked for in vain.
    neighbor_tries: u8,
    /// Bytes that were read since the other side was told of room.
    unannounced: usize,
}

impl Stream {
    fn tcp(&mut self) -> &mut tcp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    fn tcp_ref(&self) -> &tcp::Socket<'static> {
        self.set.get(self.handle)
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.tcp_ref().state()
    }

    /// True from the moment on that both sides agree, until both have ended it.
    pub fn is_connected(&self) -> bool {
        !matches!(self.state(), State::Closed | State::Listen | State::SynSent | State::SynReceived)
    }

    /// There is room enough to be worth waking a writer.
    fn has_room(&self) -> bool {
        let tcp = self.tcp_ref();
        tcp.may_send() && (tcp.send_capacity() - tcp.send_queue()) * 4 >= tcp.send_capacity()
    }

    fn see(&self) -> Seen {
        Seen { state: self.state(), received: self.tcp_ref().recv_queue(), room: self.has_room() }
    }

    /// The other side sends nothing more, or this one reads nothing more.
    fn is_finished(&self) -> bool {
        self.read_shut || !self.tcp_ref().may_recv()
    }

    /// A reader has to wait.
    fn has_nothing_to_read(&self) -> bool {
        !self.tcp_ref().can_recv() && !self.is_finished() && self.error.is_none()
    }

    /// What can be done without waiting.
    pub fn ready(&self) -> Events {
        let mut events = Events::NONE;
        if matches!(self.state(), State::SynSent | State::SynReceived) {
            return events;
        }
        let tcp = self.tcp_ref();
        // As on Linux, also while something is left to read: so it does not change by reading.
        let ended = self.read_shut
            || !matches!(self.state(), State::Established | State::FinWait1 | State::FinWait2);
        if tcp.can_recv() || ended || self.error.is_some() {
            events = events | Events::READABLE;
        }
        if ended {
            events = events | Events::READ_CLOSED;
        }
        if !tcp.may_send() || self.has_room() {
            events = events | Events::WRITABLE;
        }
        if matches!(self.state(), State::Closed | State::TimeWait) || !tcp.may_send() && ended {
            events = events | Events::HUNG_UP;
        }
        if self.error.is_some() {
            events = events | Events::ERROR;
        }
        events
    }

    /// Bytes that were sent, or are to be, and that the other side has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.tcp_ref().send_queue()
    }

    /// Ends the connection as when its descriptor is closed.
    pub fn end(&mut self) {
        let resets = self.options.linger == Some(0);
        let unread = self.tcp_ref().can_recv() && !self.read_shut;
        if resets || unread {
            // What was sent will not be read: the other side has to know (RFC 2525, 2.17).
            self.tcp().abort();
        } else {
            self.tcp().close();
        }
    }

    /// Carries the options over to the socket.
    pub fn apply_options(&mut self) {
        let options = self.options;
        let tcp = self.tcp();
        tcp.set_nagle_enabled(!options.no_delay);
        tcp.set_hop_limit(Some(options.hop_limit));
        let interval = Duration::from_secs(u64::from(options.keep_alive_interval));
        tcp.set_keep_alive(options.keep_alive.then_some(interval));
    }

    /// Bytes of the buffers: for what is received, and for what is sent.
    pub fn capacities(&self) -> (usize, usize) {
        let tcp = self.tcp_ref();
        (tcp.recv_capacity(), tcp.send_capacity())
    }
}

impl Stack {
    /// A connection that is neither asked for nor accepted yet.
    fn new_stream(
        &mut self,
        link: usize,
        flow: Flow,
        options: Options,
        signal: Arc<Signal>,
        holder: Holder,
    ) -> Result<Stream> {
        let mut rings = [
            self.rings.take().ok_or(Error::OutOfMemory)?,
            self.rings.take().ok_or(Error::OutOfMemory)?,
        ];
        // SAFETY: `forget_stream`, the one place where a stream ends, drops the socket before it gives the rings
        // back; and fields are dropped in their order, the socket first.
        let [receive, send] = rings.each_mut().map(|ring| unsafe { ring.lend() });
        // No more than the window's field can say without a scale: smoltcp 0.14 rounds a scaled window down, which
        // takes back room that the other side may have used already; such bytes are cut off, and an end behind them
        // is believed.
        let most = receive.len().min(usize::from(u16::MAX));
        let receive = &mut receive[..most];
        let mut tcp = tcp::Socket::new(SocketBuffer::new(receive), SocketBuffer::new(send));
        if link == LOOPBACK {
            // Nothing is lost there, and an answer costs less than the wait for a better one.
            tcp.set_ack_delay(None);
        } else {
            tcp.set_congestion_control(CongestionControl::Reno);
        }
        let mut set = SocketSet::new(vec![]);
        let handle = set.add(tcp);
        let mut stream = Stream {
            set,
            handle,
            rings,
            link,
            flow,
            options,
            bound: None,
            signal,
            holder,
            error: None,
            timer: None,
            dirty: false,
            read_shut: false,
            seen: Seen { state: State::Closed, received: 0, room: false },
            heard: self.now,
            last: None,
            neighbor_tries: 0,
            unannounced: 0,
        };
        stream.apply_options();
        Ok(stream)
    }

    /// Asks for a connection, for a fresh socket.
    ///
    /// # Errors
    ///
    /// [`Error::NetworkUnreachable`]; [`Error::AddressInUse`]; [`Error::AddressNotAvailable`] when no port is
    /// free; [`Error::OutOfMemory`].
    pub fn connect(&mut self, id: usize, remote: Endpoint, scope: u32) -> Result<()> {
        let Some(Entry::Fresh(fresh)) = self.entries.get(id) else {
            return Err(Error::AlreadyConnected);
        };
        let (bound, options, signal) = (fresh.bound, fresh.options, fresh.signal.clone());
        let remote = remote.or_this_machine();
        if remote.address.is_multicast() || super::stack::is_broadcast(remote.address) {
            return Err(Error::NetworkUnreachable);
        }
        if remote.port == 0 {
            return Err(Error::ConnectionRefused);
        }
        let link = self.route(remote.address, scope)?;
        let address = match bound.map(|bound| bound.address) {
            Some(address) if !address.is_unspecified() => {
                if address.is_ipv4() != remote.address.is_ipv4() {
                    return Err(Error::NetworkUnreachable);
                }
                address
            }
            _ if link == LOOPBACK => remote.address,
            _ => self.links[link].source_for(remote.address).ok_or(Error::NetworkUnreachable)?,
        };
        let flow_from = |port| Flow { local: Endpoint { address, port }, remote };
        let port = match bound {
            Some(bound) if self.flows.contains_key(&flow_from(bound.port)) => {
                return Err(Error::AddressNotAvailable);
            }
            Some(bound) => bound.port,
            None => ephemeral()
                .find(|port| {
                    // Over the loopback, the other side of an old connection may still be known.
                    let flow = flow_from(*port);
                    self.claims.is_free(Protocol::Tcp, *port)
                        && !self.flows.contains_key(&flow)
                        && !self.flows.contains_key(&flow.reversed())
                })
                .ok_or(Error::AddressNotAvailable)?,
        };
        let flow = flow_from(port);
        let mut stream = self.new_stream(link, flow, options, signal, Holder::Descriptor)?;
        stream.bound = bound.map(|bound| bound.port);
        stream.tcp().set_timeout(Some(CONNECTING));
        let local = IpListenEndpoint { addr: Some(address.into()), port };
        let handle = stream.handle;
        stream
            .set
            .get_mut::<tcp::Socket<'_>>(handle)
            .connect(self.links[link].interface().context(), remote.wire(), local)
            .map_err(|_| Error::NetworkUnreachable)?;
        stream.seen = stream.see();
        self.flows.insert(flow, Which::Stream(id));
        self.entries[id] = Entry::Stream(Box::new(stream));
        self.touch(id);
        Ok(())
    }

    /// A connection that the other side asks for; the listener has room for it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn open(
        &mut self,
        flow: Flow,
        link: usize,
        bytes: &[u8],
        options: Options,
        listener: usize,
    ) -> Result<usize> {
        let holder = Holder::Listener(listener);
        let mut stream = self.new_stream(link, flow, options, Arc::default(), holder)?;
        let local =
            IpListenEndpoint { addr: Some(flow.local.address.into()), port: flow.local.port };
        // The socket is closed, and the port is not 0: a segment for port 0 is for nobody.
        stream.tcp().listen(local).map_err(|_| Error::InvalidArgument)?;
        self.links[link].take(self.now, bytes, &mut stream.set);
        if stream.state() != State::SynReceived {
            self.rings_back(stream);
            return Err(Error::InvalidArgument);
        }
        stream.seen = stream.see();
        let id = self.entries.insert(Entry::Stream(Box::new(stream)));
        self.flows.insert(flow, Which::Stream(id));
        self.touch(id);
        Ok(id)
    }

    /// A segment for a connection.
    pub fn take_segment(&mut self, id: usize, link: usize, bytes: &[u8], segment: Segment) {
        let now = self.now;
        let Some(Entry::Stream(stream)) = self.entries.get_mut(id) else {
            return;
        };
        let before = stream.state();
        self.links[link].take(now, bytes, &mut stream.set);
        stream.heard = now;
        stream.last = Some(segment);
        if matches!(stream.holder, Holder::Nobody(_)) && stream.tcp_ref().can_recv() {
            // Nobody will read it: the other side has to know (RFC 1122, 4.2.2.13).
            stream.tcp().abort();
            return self.touch(id);
        }
        let after = stream.state();
        if segment.resets && after != before && matches!(after, State::Closed | State::Listen) {
            stream.error = Some(match before {
                State::SynSent => Error::ConnectionRefused,
                // Both sides had said all.
                State::LastAck | State::Closing | State::TimeWait => return self.touch(id),
                _ => Error::ConnectionReset,
            });
        }
        self.touch(id);
    }

    /// Sends what a connection has to send, tells who waits what has changed, and ends it when it is over.
    pub fn serve_stream(&mut self, id: usize) {
        let now = self.now;
        let Some(Entry::Stream(stream)) = self.entries.get_mut(id) else {
            return;
        };
        stream.dirty = false;
        let link = &mut self.links[stream.link];
        let before = stream.state();
        let mut stuck = false;
        let mut next = link.next(now, &stream.set);
        while !stuck && next.is_some_and(|at| at <= now) {
            stuck = !link.give(now, &mut stream.set);
            if !stuck {
                if core::mem::take(&mut stream.neighbor_tries) > 0 {
                    link.unpark(id);
                }
                stream.unannounced = 0;
            }
            next = link.next(now, &stream.set);
        }
        let after = stream.state();
        if after == State::Closed
            && !matches!(before, State::Closed | State::TimeWait)
            && stream.error.is_none()
        {
            // Nothing but its time can have ended it in between.
            stream.error = Some(Error::TimedOut);
        }
        if stuck && next.is_some_and(|at| at <= now) {
            // The card is full.
            link.blocked.push(id);
            next = Some(now + RETRY);
        } else if stuck {
            link.park(id);
            stream.neighbor_tries = stream.neighbor_tries.saturating_add(1);
            if after == State::SynSent && stream.neighbor_tries > NEIGHBOR_TRIES {
                stream.error = Some(Error::HostUnreachable);
                return self.give_up_stream(id);
            }
        }
        self.follow_stream(id, next);
    }

    /// Sees to what follows from a connection's new state.
    fn follow_stream(&mut self, id: usize, next: Option<Instant>) {
        let now = self.now;
        let Ok(stream) = self.stream(id) else { return };
        let seen = stream.see();
        let was = core::mem::replace(&mut stream.seen, seen);
        // What was sent and is not acknowledged, and for how long it may be so.
        let patience = match stream.holder {
            Holder::Nobody(_) | Holder::Listener(_) => ORPHANED,
            Holder::Descriptor => SILENCE,
        };
        let waits = stream.unacknowledged() > 0
            || matches!(
                seen.state,
                State::SynReceived | State::FinWait1 | State::Closing | State::LastAck
            );
        let probes = stream.options.keep_alive && stream.is_connected();
        let probed = Duration::from_secs(u64::from(stream.options.keep_alive_interval)) + PROBING;
        let silent = now - stream.heard;
        if seen.state != State::Closed && (waits && silent > patience || probes && silent > probed)
        {
            stream.error = Some(Error::TimedOut);
            stream.tcp().abort();
            return self.touch(id);
        }
        if let (Holder::Nobody(since), State::FinWait2) = (stream.holder, seen.state) {
            if now - since > ORPHANED {
                stream.tcp().abort();
                return self.touch(id);
            }
            self.reschedule(id, Some(next.unwrap_or(since + ORPHANED).min(since + ORPHANED)));
        } else {
            self.reschedule(id, next);
        }
        let changed = seen.state != was.state;
        if !changed && seen.received <= was.received && (!seen.room || was.room) {
            return;
        }
        let Ok(stream) = self.stream(id) else { return };
        match stream.holder {
            Holder::Descriptor => {
                if changed && seen.state == State::Established {
                    // From now on, silence alone does not end it.
                    stream.tcp().set_timeout(None);
                }
                let signal = stream.signal.clone();
                self.wake(&signal);
            }
            Holder::Listener(listener) => match seen.state {
                State::SynReceived => {}
                State::Closed | State::Listen => self.forget_stream(id),
                _ if matches!(was.state, State::SynReceived) => self.offer(listener, id),
                _ => {}
            },
            Holder::Nobody(_) => {
                let signal = stream.signal.clone();
                self.wake(&signal);
                self.bury_stream(id);
            }
        }
    }

    fn reschedule(&mut self, id: usize, next: Option<Instant>) {
        let Ok(stream) = self.stream(id) else { return };
        if let Some(at) = next
            && stream.timer.is_none_or(|own| at < own)
        {
            stream.timer = Some(at);
            self.schedule(at, id);
        }
    }

    /// Ends a connection that nobody answers.
    fn give_up_stream(&mut self, id: usize) {
        let Ok(stream) = self.stream(id) else { return };
        // A closed socket would still send a reset, to nobody.
        *stream.tcp() = tcp::Socket::new(SocketBuffer::new(vec![]), SocketBuffer::new(vec![]));
        stream.seen.state = State::Closed;
        let signal = stream.signal.clone();
        self.wake(&signal);
    }

    /// Forgets a connection that nobody has, once it is over.
    fn bury_stream(&mut self, id: usize) {
        let Ok(stream) = self.stream(id) else { return };
        match stream.state() {
            State::TimeWait => {
                let (flow, last) = (stream.flow, stream.last);
                self.forget_stream(id);
                if let Some(last) = last {
                    self.remember(flow, Last::after(last));
                }
            }
            State::Closed | State::Listen => self.forget_stream(id),
            _ => {}
        }
    }

    /// Takes a connection out of the books.
    pub fn forget_stream(&mut self, id: usize) {
        if !matches!(self.entries.get(id), Some(Entry::Stream(_))) {
            return;
        }
        let Entry::Stream(stream) = self.entries.remove(id) else {
            return;
        };
        self.flows.remove(&stream.flow);
        if stream.neighbor_tries > 0 {
            self.links[stream.link].unpark(id);
        }
        if let Some(port) = stream.bound {
            self.claims.remove(Protocol::Tcp, port, id);
        }
        if let Holder::Listener(listener) = stream.holder {
            self.withdraw(listener, id);
        }
        self.rings_back(*stream);
    }

    fn rings_back(&mut self, stream: Stream) {
        let Stream { set, rings, .. } = stream;
        // The socket before its memory.
        drop(set);
        for ring in rings {
            self.rings.give(ring);
        }
    }

    /// Reads what was received; `None` when nothing was yet.
    ///
    /// # Errors
    ///
    /// What has gone wrong with the connection.
    pub fn read_stream(
        &mut self,
        id: usize,
        buffer: &mut [u8],
        peek: bool,
    ) -> Result<Option<usize>> {
        let stream = self.stream(id)?;
        if stream.state() == State::SynSent {
            return Ok(None);
        }
        let tcp = stream.tcp();
        if tcp.can_recv() {
            if peek {
                return Ok(tcp.peek_slice(buffer).ok());
            }
            let was = tcp.recv_queue();
            let capacity = tcp.recv_capacity();
            let length = tcp.recv_slice(buffer).unwrap_or(0);
            stream.seen.received = was - length;
            stream.unannounced += length;
            stream.signal.set_empty(stream.has_nothing_to_read());
            // The other side learns of new room when it is worth a packet.
            if stream.unannounced * 4 >= capacity {
                self.touch(id);
            }
            return Ok(Some(length));
        }
        if let Some(error) = stream.error.take() {
            return Err(error);
        }
        stream.signal.set_empty(stream.has_nothing_to_read());
        Ok((stream.is_finished() || buffer.is_empty()).then_some(0))
    }

    /// Takes what there is room for of what is to be sent; `None` when there is no room.
    ///
    /// # Errors
    ///
    /// [`Error::BrokenPipe`] when the way is shut; what has gone wrong with the connection.
    pub fn write_stream(&mut self, id: usize, bytes: &[u8]) -> Result<Option<usize>> {
        let now = self.now;
        let stream = match self.entries.get_mut(id) {
            Some(Entry::Stream(stream)) => stream,
            _ => return Err(Error::BrokenPipe),
        };
        if let Some(error) = stream.error.take() {
            return Err(error);
        }
        if matches!(stream.state(), State::SynSent | State::SynReceived) {
            return Ok(None);
        }
        if stream.unacknowledged() == 0 {
            // From now on, an acknowledgement is waited for.
            stream.heard = now;
        }
        let tcp = stream.tcp();
        if !tcp.may_send() {
            return Err(Error::BrokenPipe);
        }
        let length = tcp.send_slice(bytes).unwrap_or(0);
        if length == 0 && !bytes.is_empty() {
            stream.seen.room = false;
            return Ok(None);
        }
        stream.seen.room = stream.has_room();
        self.touch(id);
        Ok(Some(length))
    }

    /// Shuts a connection's halves.
    ///
    /// # Errors
    ///
    /// [`Error::NotConnected`].
    pub fn shutdown_stream(&mut self, id: usize, how: Shutdown) -> Result<()> {
        let stream = self.stream(id)?;
        if !stream.is_connected() {
            return Err(Error::NotConnected);
        }
        if how != Shutdown::Write {
            stream.read_shut = true;
        }
        if how != Shutdown::Read {
            stream.tcp().close();
        }
        let signal = stream.signal.clone();
        self.wake(&signal);
        self.touch(id);
        Ok(())
    }

    /// A descriptor has been closed: the connection ends on its own.
    pub fn release_stream(&mut self, id: usize) {
        let now = self.now;
        let Ok(stream) = self.stream(id) else { return };
        stream.holder = Holder::Nobody(now);
        stream.heard = now;
        stream.end();
        // What it still has to send, it sends; then it may be over.
        self.serve_stream(id);
        self.bury_stream(id);
    }

    /// True while a connection without a descriptor has something to send; `signal` is its own.
    pub fn still_sends(&mut self, id: usize, signal: &Arc<Signal>) -> bool {
        match self.stream(id) {
            // Another one may have its place.
            Ok(stream) if Arc::ptr_eq(&stream.signal, signal) => {
                stream.unacknowledged() > 0
                    || matches!(stream.state(), State::FinWait1 | State::LastAck)
            }
            _ => false,
        }
    }

    /// A descriptor of a socket that was never used has been closed.
    pub fn release_fresh(&mut self, id: usize) {
        if let Some(Entry::Fresh(fresh)) = self.entries.try_remove(id)
            && let Some(bound) = fresh.bound
        {
            self.claims.remove(Protocol::Tcp, bound.port, id);
        }
    }

    /// A packet of a connection did not arrive.
    pub fn stream_undelivered(&mut self, id: usize, reason: Error) {
        let Ok(stream) = self.stream(id) else { return };
        // Later, such messages say nothing for sure (RFC 1122, 4.2.3.9).
        if stream.state() == State::SynSent && reason != Error::MessageTooLong {
            stream.error = Some(reason);
            self.give_up_stream(id);
        }
    }

    /// A segment of a connection that is over.
    pub fn take_late(
        &mut self,
        flow: &Flow,
        link: usize,
        bytes: &[u8],
        segment: Segment,
        last: Last,
    ) {
        if segment.resets {
            self.flows.remove(flow);
        } else if segment.ends || segment.opens {
            // Who asks for a new connection with an old number resets what is left, and asks again.
            super::reply::acknowledge(&mut self.links[link].exit, bytes, flow, last);
        }
    }

    /// Claims a port for a fresh TCP socket.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`]; [`Error::AddressNotAvailable`]; [`Error::InvalidArgument`] when it has one.
    pub fn bind_fresh(&mut self, id: usize, local: Endpoint) -> Result<()> {
        let Some(Entry::Fresh(fresh)) = self.entries.get(id) else {
            return Err(Error::InvalidArgument);
        };
        if fresh.bound.is_some() {
            return Err(Error::InvalidArgument);
        }
        let claim = Claim {
            address: local.address,
            both: fresh.family == Family::V6 && !fresh.options.v6_only,
            shared: false,
            spread: fresh.options.reuse_port,
            id,
        };
        if !self.may_bind(local.address) {
            return Err(Error::AddressNotAvailable);
        }
        let port = self.claims.add(Protocol::Tcp, local.port, claim)?;
        if let Some(Entry::Fresh(fresh)) = self.entries.get_mut(id) {
            fresh.bound = Some(Endpoint { port, ..local });
        }
        Ok(())
    }
}
