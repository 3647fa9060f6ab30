//! Sockets as descriptors: calls that wait, and what is set on them.

use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use smoltcp::socket::tcp::State;

use super::address::{self, Endpoint};
use super::option::{Name, Setting, Value};
use super::ring::Rings;
use super::signal::Signal;
use super::stack::{Entry, Guard, Stack, lock};
use super::stream::{Fresh, Options};
use super::{Family, Flags, Kind, Shutdown, Socket};
use crate::fd::poll::Events;
use crate::fd::{Object, Parts, PartsMut};
use crate::{Error, Result, time};

/// How long a call waits for an address, in nanoseconds, when there is none yet.
const CONFIGURED: u64 = 15_000_000_000;

/// A socket that a descriptor stands for.
#[derive(Debug)]
pub struct Handle {
    /// Its entry in the stack.
    id: usize,
    kind: Kind,
    family: Family,
    signal: Arc<Signal>,
    nonblocking: AtomicBool,
    /// In nanoseconds; 0 is without end.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
}

impl Handle {
    /// A new socket.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn new(kind: Kind, family: Family, nonblocking: bool) -> Result<Handle> {
        let signal = Arc::new(Signal::default());
        let mut stack = lock();
        let id = match kind {
            Kind::Stream => stack.entries.insert(Entry::Fresh(Fresh {
                family,
                options: Options::DEFAULT,
                bound: None,
                signal: signal.clone(),
            })),
            Kind::Datagram => stack.new_datagram(family, signal.clone())?,
        };
        Ok(Handle::of(id, kind, family, signal, nonblocking))
    }

    const fn of(
        id: usize,
        kind: Kind,
        family: Family,
        signal: Arc<Signal>,
        nonblocking: bool,
    ) -> Handle {
        Handle {
            id,
            kind,
            family,
            signal,
            nonblocking: AtomicBool::new(nonblocking),
            read_timeout: AtomicU64::new(0),
            write_timeout: AtomicU64::new(0),
        }
    }

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
        mut attempt: impl FnMut(&mut Guard) -> Result<Option<T>>,
    ) -> Result<T> {
        self.signal.wait(deadline, || attempt(&mut lock()))
    }

    fn take_address(&self, stack: &mut Stack, address: SocketAddr) -> Result<(Endpoint, u32)> {
        let v6_only = match stack.entries.get(self.id) {
            Some(Entry::Fresh(fresh)) => fresh.options.v6_only,
            Some(Entry::Datagram(datagram)) => datagram.v6_only,
            _ => false,
        };
        address::take(address, self.family, v6_only)
    }

    fn show(&self, stack: &Stack, endpoint: Endpoint) -> SocketAddr {
        let scope = stack.link_of(endpoint.address).map_or(0, |link| link as u32 + 1);
        address::show(endpoint, self.family, scope)
    }

    fn read_parts(&self, parts: PartsMut<'_>) -> Result<usize> {
        if self.kind == Kind::Datagram {
            return self.scatter(parts);
        }
        let mut total = 0;
        let mut flags = Flags::default();
        for part in parts {
            if part.is_empty() {
                continue;
            }
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

    /// Receives one datagram into all parts.
    fn scatter(&self, parts: PartsMut<'_>) -> Result<usize> {
        let mut places = alloc::vec::Vec::new();
        for part in parts {
            places.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
            places.push(part);
        }
        if let [place] = &mut places[..] {
            return self.receive(place, Flags::default()).map(|(length, _)| length);
        }
        let room = places.iter().map(|place| place.len()).sum::<usize>();
        let mut bytes = alloc::vec::Vec::new();
        let most = room.min(usize::from(u16::MAX));
        bytes.try_reserve(most).map_err(|_| Error::OutOfMemory)?;
        bytes.resize(most, 0);
        let (length, _) = self.receive(&mut bytes, Flags::default())?;
        let mut rest = &bytes[..length];
        for place in places {
            let (now, then) = rest.split_at(rest.len().min(place.len()));
            place[..now.len()].copy_from_slice(now);
            rest = then;
        }
        Ok(length)
    }

    fn write_all(&self, parts: Parts<'_>, flags: Flags) -> Result<usize> {
        let deadline = self.deadline(&self.write_timeout, flags);
        let mut total = 0;
        let mut rest: &[u8] = &[];
        let result = self.wait(deadline, |stack| {
            loop {
                if rest.is_empty() {
                    match parts.next() {
                        Some(part) => rest = part,
                        None => return Ok(Some(())),
                    }
                }
                match stack.write_stream(self.id, rest)? {
                    Some(length) => {
                        total += length;
                        rest = &rest[length..];
                        // What does not fit waits until there is room.
                        if !rest.is_empty() {
                            stack.serve_stream(self.id);
                        }
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

    /// Puts all parts together, for a datagram.
    fn gather(parts: Parts<'_>) -> Result<alloc::vec::Vec<u8>> {
        let mut bytes = alloc::vec::Vec::new();
        for part in parts {
            bytes.try_reserve(part.len()).map_err(|_| Error::OutOfMemory)?;
            bytes.extend_from_slice(part);
        }
        Ok(bytes)
    }
}

/// Calls `attempt`, again while the links are still told their addresses and it fails for want of one.
///
/// # Errors
///
/// Those of `attempt`.
pub fn when_configured<T>(mut attempt: impl FnMut(&mut Stack) -> Result<T>) -> Result<T> {
    let configured = lock().configured.clone();
    let deadline = time::monotonic().saturating_add(CONFIGURED);
    let mut last = Error::NetworkUnreachable;
    let result = configured.wait(Some(deadline), || {
        let mut stack = lock();
        match attempt(&mut stack) {
            Err(error @ (Error::NetworkUnreachable | Error::AddressNotAvailable))
                if stack.is_configuring() =>
            {
                last = error;
                Ok(None)
            }
            result => result.map(Some),
        }
    });
    match result {
        // What would otherwise be said by who does not want to wait.
        Err(Error::WouldBlock) => Err(last),
        result => result,
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut stack = lock();
        match stack.entries.get(self.id) {
            Some(Entry::Fresh(_)) => stack.release_fresh(self.id),
            Some(Entry::Listener(_)) => stack.release_listener(self.id),
            Some(Entry::Datagram(_)) => stack.release_datagram(self.id),
            Some(Entry::Stream(stream)) => {
                let linger = stream.options.linger.filter(|time| *time > 0);
                stack.release_stream(self.id);
                drop(stack);
                if let Some(linger) = linger {
                    let deadline = time::monotonic().saturating_add(linger);
                    // What could not be sent in time goes on by itself.
                    let _ = self.wait(Some(deadline), |stack| {
                        Ok((!stack.still_sends(self.id, &self.signal)).then_some(()))
                    });
                }
            }
            None => {}
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
        self.read_parts(parts)
    }

    fn write_vectored(&self, parts: Parts<'_>) -> Result<usize> {
        match self.kind {
            Kind::Stream => self.write_all(parts, Flags::default()),
            Kind::Datagram => self.send(&Handle::gather(parts)?, None, Flags::default()),
        }
    }

    fn ready(&self) -> Events {
        self.signal.look(|| match lock().entries.get(self.id) {
            // As on Linux: nothing would wait, and nothing would come.
            Some(Entry::Fresh(_)) => Events::WRITABLE | Events::HUNG_UP,
            Some(Entry::Listener(listener)) => listener.ready(),
            Some(Entry::Stream(stream)) => stream.ready(),
            Some(Entry::Datagram(datagram)) => datagram.ready(),
            None => Events::ERROR,
        })
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

impl Socket for Handle {
    fn bind(&self, local: SocketAddr) -> Result<()> {
        when_configured(|stack| {
            let (local, _) = self.take_address(stack, local)?;
            match self.kind {
                Kind::Stream => stack.bind_fresh(self.id, local),
                Kind::Datagram => stack.bind_datagram(self.id, local),
            }
        })
    }

    fn listen(&self, backlog: usize) -> Result<()> {
        match self.kind {
            Kind::Stream => lock().listen(self.id, backlog),
            Kind::Datagram => Err(Error::Unsupported),
        }
    }

    fn accept(&self) -> Result<(Arc<dyn Object>, SocketAddr)> {
        if self.kind == Kind::Datagram {
            return Err(Error::Unsupported);
        }
        let deadline = self.deadline(&self.read_timeout, Flags::default());
        let (id, signal, from) = self.wait(deadline, |stack| {
            let Some(id) = stack.accept(self.id)? else {
                return Ok(None);
            };
            let stream = stack.stream(id)?;
            let (signal, remote) = (stream.signal.clone(), stream.flow.remote);
            Ok(Some((id, signal, self.show(stack, remote))))
        })?;
        let handle = Handle::of(id, Kind::Stream, self.family, signal, false);
        Ok((super::shared(handle)?, from))
    }

    fn connect(&self, peer: Option<SocketAddr>) -> Result<()> {
        when_configured(|stack| {
            let peer = match peer {
                Some(peer) => Some(self.take_address(stack, peer)?),
                None => None,
            };
            if self.kind == Kind::Datagram {
                return stack.connect_datagram(self.id, peer);
            }
            let (remote, scope) = peer.ok_or(Error::Unsupported)?;
            match stack.entries.get_mut(self.id) {
                Some(Entry::Fresh(_)) => stack.connect(self.id, remote, scope),
                Some(Entry::Stream(stream)) => match stream.error.take() {
                    _ if stream.state() == State::SynSent => Err(Error::AlreadyInProgress),
                    Some(error) => Err(error),
                    None => Err(Error::AlreadyConnected),
                },
                _ => Err(Error::AlreadyConnected),
            }
        })?;
        if self.kind == Kind::Datagram {
            return Ok(());
        }
        let deadline = self.deadline(&self.write_timeout, Flags::default());
        let result = self.wait(deadline, |stack| {
            let stream = stack.stream(self.id)?;
            if let Some(error) = stream.error.take() {
                return Err(error);
            }
            Ok((!matches!(stream.state(), State::SynSent | State::SynReceived)).then_some(()))
        });
        match result {
            Err(Error::WouldBlock) => Err(Error::InProgress),
            result => result,
        }
    }

    fn receive(&self, buffer: &mut [u8], flags: Flags) -> Result<(usize, Option<SocketAddr>)> {
        let deadline = self.deadline(&self.read_timeout, flags);
        self.signal.wait(deadline, || {
            if self.signal.is_empty() && !buffer.is_empty() {
                return Ok(None);
            }
            let mut stack = lock();
            match self.kind {
                Kind::Stream => {
                    Ok(stack.read_stream(self.id, buffer, flags.peek)?.map(|length| (length, None)))
                }
                Kind::Datagram => match stack.receive_datagram(self.id, buffer, flags.peek)? {
                    Some((length, from)) => Ok(Some((length, Some(self.show(&stack, from))))),
                    None => Ok(None),
                },
            }
        })
    }

    fn send(&self, bytes: &[u8], to: Option<SocketAddr>, flags: Flags) -> Result<usize> {
        match self.kind {
            Kind::Stream => self.write_all(&mut core::iter::once(bytes), flags),
            Kind::Datagram => {
                let deadline = self.deadline(&self.write_timeout, flags);
                let attempt = |stack: &mut Stack| {
                    let to = match to {
                        Some(to) => Some(self.take_address(stack, to)?),
                        None => None,
                    };
                    stack.send_datagram(self.id, bytes, to)
                };
                match self.wait(deadline, |stack| attempt(stack)) {
                    Err(Error::NetworkUnreachable) => {
                        // Maybe for want of an address that is still to come.
                        when_configured(attempt)?;
                        Ok(bytes.len())
                    }
                    result => result,
                }
            }
        }
    }

    fn local(&self) -> Result<SocketAddr> {
        let stack = lock();
        let local = match stack.entries.get(self.id) {
            Some(Entry::Fresh(fresh)) => fresh.bound,
            Some(Entry::Listener(listener)) => Some(listener.local),
            Some(Entry::Stream(stream)) => Some(stream.flow.local),
            Some(Entry::Datagram(datagram)) => datagram.local,
            None => None,
        };
        let local =
            local.unwrap_or(Endpoint { address: address::unspecified(self.family), port: 0 });
        Ok(self.show(&stack, local))
    }

    fn peer(&self) -> Result<SocketAddr> {
        let stack = lock();
        let peer = match stack.entries.get(self.id) {
            Some(Entry::Stream(stream)) if stream.is_connected() => Some(stream.flow.remote),
            Some(Entry::Datagram(datagram)) => datagram.peer.map(|(peer, _)| peer),
            _ => None,
        };
        peer.map(|peer| self.show(&stack, peer)).ok_or(Error::NotConnected)
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        let mut stack = lock();
        match self.kind {
            Kind::Stream => stack.shutdown_stream(self.id, how),
            Kind::Datagram => stack.shutdown_datagram(self.id, how),
        }
    }

    fn option(&self, name: Name) -> Result<Value> {
        let time = |timeout: &AtomicU64| {
            let timeout = timeout.load(Relaxed);
            Ok(Value::Time((timeout > 0).then_some(timeout)))
        };
        match name {
            Name::Kind => return Ok(Value::Kind(self.kind)),
            Name::ReadTimeout => return time(&self.read_timeout),
            Name::WriteTimeout => return time(&self.write_timeout),
            _ => {}
        }
        let mut stack = lock();
        if name == Name::MulticastAddress {
            return multicast_address(&mut stack, self.id).map(Value::Address);
        }
        let size = Rings::next_size();
        match stack.entries.get_mut(self.id) {
            Some(Entry::Fresh(fresh)) => match name {
                Name::TakeError => Ok(Value::Error(None)),
                Name::Listens => Ok(Value::Flag(false)),
                Name::ReceiveBuffer | Name::SendBuffer => Ok(Value::Number(size)),
                name => stream_option(&fresh.options, name),
            },
            Some(Entry::Listener(listener)) => match name {
                Name::TakeError => Ok(Value::Error(None)),
                Name::Listens => Ok(Value::Flag(true)),
                Name::ReceiveBuffer | Name::SendBuffer => Ok(Value::Number(size)),
                name => stream_option(&listener.options, name),
            },
            Some(Entry::Stream(stream)) => match name {
                Name::TakeError => Ok(Value::Error(stream.error.take())),
                Name::Listens => Ok(Value::Flag(false)),
                Name::ReceiveBuffer => Ok(Value::Number(stream.capacities().0)),
                Name::SendBuffer => Ok(Value::Number(stream.capacities().1)),
                name => stream_option(&stream.options, name),
            },
            Some(Entry::Datagram(datagram)) => Ok(match name {
                Name::TakeError => Value::Error(datagram.error.take()),
                Name::Listens => Value::Flag(false),
                Name::ReceiveBuffer => Value::Number(datagram.capacities().0),
                Name::SendBuffer => Value::Number(datagram.capacities().1),
                Name::ReuseAddress => Value::Flag(datagram.reuse_address),
                Name::ReusePort => Value::Flag(datagram.reuse_port),
                Name::Broadcast => Value::Flag(datagram.broadcast),
                Name::HopLimit => Value::Number(datagram.hop_limit.into()),
                Name::MulticastHopLimit => Value::Number(datagram.multicast_hop_limit.into()),
                Name::MulticastLoop => Value::Flag(datagram.multicast_loop),
                Name::MulticastInterface => Value::Number(datagram.multicast_interface as usize),
                Name::V6Only => Value::Flag(datagram.v6_only),
                _ => return Err(Error::NoSuchOption),
            }),
            None => Err(Error::BadDescriptor),
        }
    }

    fn set_option(&self, setting: Setting) -> Result<()> {
        match setting {
            Setting::ReadTimeout(time) => {
                self.read_timeout.store(time.unwrap_or(0), Relaxed);
                return Ok(());
            }
            Setting::WriteTimeout(time) => {
                self.write_timeout.store(time.unwrap_or(0), Relaxed);
                return Ok(());
            }
            // The buffers are as large as memory allows.
            Setting::ReceiveBuffer(_) | Setting::SendBuffer(_) => return Ok(()),
            _ => {}
        }
        let mut stack = lock();
        let is_v6_only = matches!(setting, Setting::V6Only(_));
        match stack.entries.get_mut(self.id) {
            Some(Entry::Fresh(fresh)) if is_v6_only && fresh.bound.is_some() => {
                Err(Error::InvalidArgument)
            }
            Some(Entry::Fresh(fresh)) => set_stream_option(&mut fresh.options, setting),
            // Too late: it has its port.
            Some(Entry::Listener(_) | Entry::Stream(_)) if is_v6_only => {
                Err(Error::InvalidArgument)
            }
            Some(Entry::Listener(listener)) => set_stream_option(&mut listener.options, setting),
            Some(Entry::Stream(stream)) => {
                set_stream_option(&mut stream.options, setting)?;
                stream.apply_options();
                // What was held back may go now.
                stack.touch(self.id);
                Ok(())
            }
            Some(Entry::Datagram(_)) => set_datagram_option(&mut stack, self.id, setting),
            None => Err(Error::BadDescriptor),
        }
    }
}

fn stream_option(options: &Options, name: Name) -> Result<Value> {
    Ok(match name {
        Name::ReuseAddress => Value::Flag(options.reuse_address),
        Name::ReusePort => Value::Flag(options.reuse_port),
        Name::KeepAlive => Value::Flag(options.keep_alive),
        Name::KeepAliveInterval => Value::Number(options.keep_alive_interval as usize),
        Name::NoDelay => Value::Flag(options.no_delay),
        Name::Linger => Value::Time(options.linger),
        Name::HopLimit => Value::Number(options.hop_limit.into()),
        Name::V6Only => Value::Flag(options.v6_only),
        Name::Broadcast => Value::Flag(options.broadcast),
        _ => return Err(Error::NoSuchOption),
    })
}

fn set_stream_option(options: &mut Options, setting: Setting) -> Result<()> {
    match setting {
        Setting::ReuseAddress(on) => options.reuse_address = on,
        Setting::ReusePort(on) => options.reuse_port = on,
        Setting::KeepAlive(on) => options.keep_alive = on,
        Setting::KeepAliveInterval(0) | Setting::HopLimit(0) => {
            return Err(Error::InvalidArgument);
        }
        Setting::KeepAliveInterval(seconds) => options.keep_alive_interval = seconds,
        Setting::NoDelay(on) => options.no_delay = on,
        Setting::Linger(time) => options.linger = time,
        Setting::HopLimit(hops) => options.hop_limit = hops,
        Setting::V6Only(on) => options.v6_only = on,
        // It means nothing here, and is kept.
        Setting::Broadcast(on) => options.broadcast = on,
        _ => return Err(Error::NoSuchOption),
    }
    Ok(())
}

/// An address of the interface that what goes to a group leaves by; unspecified for any.
fn multicast_address(stack: &mut Stack, id: usize) -> Result<Ipv4Addr> {
    let number = match stack.entries.get(id) {
        Some(Entry::Datagram(datagram)) => datagram.multicast_interface as usize,
        _ => return Err(Error::NoSuchOption),
    };
    let link = number.checked_sub(1).and_then(|link| stack.links.get(link));
    let own = link.map_or(&[][..], |link| link.addresses());
    let first = own.iter().find_map(|own| match own.address().into() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    Ok(first.unwrap_or(Ipv4Addr::UNSPECIFIED))
}

fn set_datagram_option(stack: &mut Stack, id: usize, setting: Setting) -> Result<()> {
    let link_of = |stack: &Stack, address: core::net::Ipv4Addr| {
        if address.is_unspecified() {
            return Ok(None);
        }
        let link = stack.link_of(IpAddr::V4(address));
        link.map(Some).ok_or(Error::NoDevice)
    };
    let numbered = |number: u32| number.checked_sub(1).map(|link| link as usize);
    match setting {
        Setting::JoinV4(group, interface) => {
            let link = link_of(stack, interface)?;
            return stack.change_membership(id, group.into(), link, true);
        }
        Setting::LeaveV4(group, interface) => {
            let link = link_of(stack, interface)?;
            return stack.change_membership(id, group.into(), link, false);
        }
        Setting::JoinV6(group, number) => {
            return stack.change_membership(id, group.into(), numbered(number), true);
        }
        Setting::LeaveV6(group, number) => {
            return stack.change_membership(id, group.into(), numbered(number), false);
        }
        Setting::MulticastAddress(address) => {
            let link = link_of(stack, address).map_err(|_| Error::AddressNotAvailable)?;
            stack.datagram(id)?.multicast_interface = link.map_or(0, |link| link as u32 + 1);
            return Ok(());
        }
        Setting::MulticastInterface(number) if number as usize > stack.links.len() => {
            return Err(Error::NoDevice);
        }
        _ => {}
    }
    let datagram = stack.datagram(id)?;
    match setting {
        Setting::ReuseAddress(on) => datagram.reuse_address = on,
        Setting::ReusePort(on) => datagram.reuse_port = on,
        Setting::Broadcast(on) => datagram.broadcast = on,
        Setting::HopLimit(0) => return Err(Error::InvalidArgument),
        Setting::HopLimit(hops) => datagram.hop_limit = hops,
        Setting::MulticastHopLimit(hops) => datagram.multicast_hop_limit = hops,
        Setting::MulticastLoop(on) => datagram.multicast_loop = on,
        Setting::MulticastInterface(number) => datagram.multicast_interface = number,
        Setting::V6Only(on) => datagram.v6_only = on,
        // It means nothing here.
        Setting::KeepAlive(_) | Setting::Linger(_) => {}
        _ => return Err(Error::NoSuchOption),
    }
    Ok(())
}
