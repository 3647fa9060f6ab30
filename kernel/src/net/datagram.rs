//! UDP sockets.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::udp::{self, PacketBuffer, PacketMetadata, UdpMetadata};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::IpListenEndpoint;

use super::address::{Endpoint, Flow, loopback, unspecified};
use super::claims::Claim;
use super::frame::Protocol;
use super::link::LOOPBACK;
use super::ring::Ring;
use super::signal::Signal;
use super::stack::{Entry, Stack, is_broadcast};
use super::{Family, Shutdown};
use crate::fd::poll::Events;
use crate::{Error, Result};

/// The longest datagram: what the length fields of UDP and IPv4 can say.
pub const LONGEST: usize = 65507;
/// Bytes that are held for the card, and at least for the program: the longest datagram has room.
const ROOM: usize = 68 << 10;
/// The longest packet that is cut into fragments: smoltcp's feature `fragmentation-buffer-size`.
const FRAGMENTED: usize = 16384;
/// Datagrams that are held, at most, in each direction.
const COUNT: usize = 128;
/// When a datagram for which the card had no room is tried again.
const RETRY: Duration = Duration::from_millis(10);
/// How often a neighbour is asked for, a second apart, before what is for it is thrown away.
const NEIGHBOR_TRIES: u8 = 3;

/// A membership in a group, on a link.
pub type Membership = (IpAddr, usize);

/// A socket.
#[derive(Debug)]
pub struct Datagram {
    set: SocketSet<'static>,
    handle: SocketHandle,
    /// Lent to the socket.
    _rings: [Ring; 2],
    /// Its family.
    pub family: Family,
    /// For those who wait.
    pub signal: Arc<Signal>,
    /// Where it is bound.
    pub local: Option<Endpoint>,
    /// Where it is connected to, and by which link.
    pub peer: Option<(Endpoint, u32)>,
    /// What has gone wrong, until it is told.
    pub error: Option<Error>,
    /// When it is looked at again.
    pub timer: Option<Instant>,
    /// The link that the waiting datagrams leave by.
    link: usize,
    neighbor_tries: u8,
    /// What goes to everybody may go.
    pub broadcast: bool,
    /// Others that say the same may have the port too.
    pub reuse_address: bool,
    /// The same, and each datagram is for one of them.
    pub reuse_port: bool,
    /// Not for IPv4.
    pub v6_only: bool,
    /// Routers that packets may pass.
    pub hop_limit: u8,
    /// The same for what goes to a group.
    pub multicast_hop_limit: u8,
    /// What goes to a group comes back.
    pub multicast_loop: bool,
    /// The link that what goes to a group leaves by, from 1 on, or 0.
    pub multicast_interface: u32,
    read_shut: bool,
    write_shut: bool,
    /// Groups it belongs to.
    pub groups: Vec<Membership>,
}

impl Datagram {
    fn udp(&mut self) -> &mut udp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    fn udp_ref(&self) -> &udp::Socket<'static> {
        self.set.get(self.handle)
    }

    /// What can be done without waiting.
    pub fn ready(&self) -> Events {
        let mut events = Events::NONE;
        if self.udp_ref().can_recv() || self.read_shut || self.error.is_some() {
            events = events | Events::READABLE;
        }
        if self.udp_ref().can_send() {
            events = events | Events::WRITABLE;
        }
        if self.error.is_some() {
            events = events | Events::ERROR;
        }
        events
    }

    /// Bytes of the buffers: for what is received, and for what is sent.
    pub fn capacities(&self) -> (usize, usize) {
        let udp = self.udp_ref();
        (udp.payload_recv_capacity(), udp.payload_send_capacity())
    }

    /// True for a datagram from `remote` that this socket wants.
    fn wants(&self, remote: Endpoint) -> bool {
        self.peer.is_none_or(|(peer, _)| peer == remote)
    }
}

impl Stack {
    /// A socket that is bound to nothing.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn new_datagram(&mut self, family: Family, signal: Arc<Signal>) -> Result<usize> {
        let mut rings = [
            Ring::new(ROOM).ok_or(Error::OutOfMemory)?,
            Ring::new(ROOM).ok_or(Error::OutOfMemory)?,
        ];
        let [receive, send] = rings.each_mut().map(|ring| {
            // SAFETY: fields are dropped in their order, the socket before the rings.
            let memory = unsafe { ring.lend() };
            PacketBuffer::new(vec![PacketMetadata::EMPTY; COUNT], memory)
        });
        let mut set = SocketSet::new(vec![]);
        let handle = set.add(udp::Socket::new(receive, send));
        let datagram = Datagram {
            set,
            handle,
            _rings: rings,
            family,
            signal,
            local: None,
            peer: None,
            error: None,
            timer: None,
            link: LOOPBACK,
            neighbor_tries: 0,
            broadcast: false,
            reuse_address: false,
            reuse_port: false,
            v6_only: false,
            hop_limit: 64,
            multicast_hop_limit: 1,
            multicast_loop: true,
            multicast_interface: 0,
            read_shut: false,
            write_shut: false,
            groups: Vec::new(),
        };
        Ok(self.entries.insert(Entry::Datagram(Box::new(datagram))))
    }

    /// A socket's entry that is for UDP.
    ///
    /// # Errors
    ///
    /// [`Error::BadDescriptor`] when it is none.
    pub fn datagram(&mut self, id: usize) -> Result<&mut Datagram> {
        match self.entries.get_mut(id) {
            Some(Entry::Datagram(datagram)) => Ok(datagram),
            _ => Err(Error::BadDescriptor),
        }
    }

    /// Claims a port.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`]; [`Error::AddressNotAvailable`]; [`Error::InvalidArgument`] when it has one.
    pub fn bind_datagram(&mut self, id: usize, local: Endpoint) -> Result<()> {
        if !self.may_bind(local.address) {
            return Err(Error::AddressNotAvailable);
        }
        let datagram = self.datagram(id)?;
        if datagram.local.is_some() {
            return Err(Error::InvalidArgument);
        }
        let claim = Claim {
            address: local.address,
            both: datagram.family == Family::V6 && !datagram.v6_only,
            shared: datagram.reuse_address,
            spread: datagram.reuse_port,
            id,
        };
        let port = self.claims.add(Protocol::Udp, local.port, claim)?;
        let datagram = self.datagram(id)?;
        datagram.local = Some(Endpoint { port, ..local });
        // The port is not 0, and the socket not open.
        let _ = datagram.udp().bind(IpListenEndpoint { addr: None, port });
        Ok(())
    }

    /// Chooses a port if there is none yet.
    fn bound(&mut self, id: usize) -> Result<Endpoint> {
        let datagram = self.datagram(id)?;
        if let Some(local) = datagram.local {
            return Ok(local);
        }
        let any = Endpoint { address: unspecified(datagram.family), port: 0 };
        self.bind_datagram(id, any)?;
        self.datagram(id)?.local.ok_or(Error::InvalidArgument)
    }

    /// Chooses who datagrams go to and come from, or nobody in particular.
    ///
    /// # Errors
    ///
    /// [`Error::NetworkUnreachable`]; as for [`Stack::bind_datagram`].
    pub fn connect_datagram(&mut self, id: usize, peer: Option<(Endpoint, u32)>) -> Result<()> {
        let Some((remote, scope)) = peer else {
            self.datagram(id)?.peer = None;
            return Ok(());
        };
        let remote = remote.or_this_machine();
        let link = self.route(remote.address, scope)?;
        if is_broadcast(remote.address) && !self.datagram(id)?.broadcast {
            return Err(Error::PermissionDenied);
        }
        self.bound(id)?;
        let source = match link {
            LOOPBACK => Some(remote.address),
            link => self.links[link].source_for(remote.address),
        };
        let datagram = self.datagram(id)?;
        datagram.peer = Some((remote, scope));
        // From now on, it has the address that the peer sees.
        if let (Some(source), Some(local)) = (source, &mut datagram.local)
            && local.address.is_unspecified()
        {
            local.address = source;
        }
        Ok(())
    }

    /// Sends a datagram; `None` when there is no room.
    ///
    /// # Errors
    ///
    /// [`Error::DestinationRequired`]; [`Error::MessageTooLong`]; [`Error::NetworkUnreachable`];
    /// [`Error::PermissionDenied`] for what goes to everybody; what has gone wrong with an earlier one.
    pub fn send_datagram(
        &mut self,
        id: usize,
        bytes: &[u8],
        to: Option<(Endpoint, u32)>,
    ) -> Result<Option<usize>> {
        let datagram = self.datagram(id)?;
        if let Some(error) = datagram.error.take() {
            return Err(error);
        }
        if datagram.write_shut {
            return Err(Error::BrokenPipe);
        }
        let (remote, mut scope) = to.or(datagram.peer).ok_or(Error::DestinationRequired)?;
        if bytes.len() > LONGEST {
            return Err(Error::MessageTooLong);
        }
        if remote.port == 0 {
            return Err(Error::InvalidArgument);
        }
        if is_broadcast(remote.address) && !datagram.broadcast {
            return Err(Error::PermissionDenied);
        }
        let remote = remote.or_this_machine();
        let multicast = remote.address.is_multicast();
        if multicast && scope == 0 {
            scope = datagram.multicast_interface;
        }
        let looped = multicast && datagram.multicast_loop;
        let link = match self.route(remote.address, scope) {
            // Members on this machine hear it all the same.
            Err(_) if multicast && looped => LOOPBACK,
            result => result?,
        };
        let local = self.bound(id)?;
        let source = match local.address {
            address if !address.is_unspecified() && !address.is_multicast() => address,
            _ if link == LOOPBACK && multicast => loopback(remote.address),
            _ if link == LOOPBACK => remote.address,
            _ => self.links[link].source_for(remote.address).ok_or(Error::NetworkUnreachable)?,
        };
        if source.is_ipv4() != remote.address.is_ipv4() {
            return Err(Error::NetworkUnreachable);
        }
        let header = if source.is_ipv4() { 20 } else { 40 } + 8;
        // smoltcp cuts packets of IPv4 alone, and only such as its buffer can hold.
        let mtu = self.links[link].mtu();
        let limit = if source.is_ipv4() { mtu.max(FRAGMENTED) } else { mtu };
        if bytes.len() + header > limit {
            return Err(Error::MessageTooLong);
        }
        let datagram = self.datagram(id)?;
        if datagram.link != link && datagram.udp().send_queue() > 0 {
            // What waits for another link goes first.
            return Ok(None);
        }
        datagram.link = link;
        let hops = if multicast { datagram.multicast_hop_limit } else { datagram.hop_limit };
        let metadata = UdpMetadata {
            endpoint: remote.wire(),
            local_address: Some(source.into()),
            meta: smoltcp::phy::PacketMeta::default(),
        };
        let udp = datagram.udp();
        udp.set_hop_limit(Some(hops.max(1)));
        if udp.send_slice(bytes, metadata).is_err() {
            return Ok(None);
        }
        self.serve_datagram(id);
        if looped && link != LOOPBACK && self.has_member(remote) {
            self.send_looped(id, bytes, metadata);
        }
        Ok(Some(bytes.len()))
    }

    /// True when a socket of this machine hears what goes to a group.
    fn has_member(&self, remote: Endpoint) -> bool {
        self.claims.all(Protocol::Udp, remote.port).any(|id| match self.entries.get(id) {
            Some(Entry::Datagram(datagram)) => {
                datagram.groups.iter().any(|(group, _)| *group == remote.address)
            }
            _ => false,
        })
    }

    fn send_looped(&mut self, id: usize, bytes: &[u8], metadata: UdpMetadata) {
        let now = self.now;
        let Some(Entry::Datagram(datagram)) = self.entries.get_mut(id) else {
            return;
        };
        // What waits for the card's room would be looped instead.
        if datagram.udp().send_queue() == 0 && datagram.udp().send_slice(bytes, metadata).is_ok() {
            self.links[LOOPBACK].give(now, &mut datagram.set);
        }
    }

    /// Sends what waits.
    pub fn serve_datagram(&mut self, id: usize) {
        let now = self.now;
        let Some(Entry::Datagram(datagram)) = self.entries.get_mut(id) else {
            return;
        };
        let link = &mut self.links[datagram.link];
        let full = !datagram.udp().can_send();
        let mut stuck = false;
        let mut next = link.next(now, &datagram.set);
        while !stuck && next.is_some_and(|at| at <= now) {
            stuck = !link.give(now, &mut datagram.set);
            if !stuck && core::mem::take(&mut datagram.neighbor_tries) > 0 {
                link.unpark(id);
            }
            next = link.next(now, &datagram.set);
        }
        if stuck && next.is_some_and(|at| at <= now) {
            // The card is full.
            link.blocked.push(id);
            return self.reschedule_datagram(id, now + RETRY);
        }
        if stuck {
            link.park(id);
            datagram.neighbor_tries += 1;
            if datagram.neighbor_tries <= NEIGHBOR_TRIES {
                return self.reschedule_datagram(id, next.unwrap_or(now + RETRY));
            }
            // Nobody has that address.
            datagram.neighbor_tries = 0;
            link.unpark(id);
            self.links[LOOPBACK].discard(now, &mut datagram.set);
            if datagram.peer.is_some() {
                datagram.error = Some(Error::HostUnreachable);
            }
        }
        if full || datagram_has_error(self.entries.get(id)) {
            let Ok(datagram) = self.datagram(id) else {
                return;
            };
            let signal = datagram.signal.clone();
            self.wake(&signal);
        }
    }

    fn reschedule_datagram(&mut self, id: usize, at: Instant) {
        let Ok(datagram) = self.datagram(id) else {
            return;
        };
        if datagram.timer.is_none_or(|own| at < own) {
            datagram.timer = Some(at);
            self.schedule(at, id);
        }
    }

    /// A datagram has come.
    pub fn take_datagram(&mut self, flow: Flow, link: usize, bytes: &[u8]) {
        let to_many = flow.local.address.is_multicast()
            || is_broadcast(flow.local.address)
            || self.links[link].is_broadcast(flow.local.address);
        let wants = |entries: &slab::Slab<Entry>, id: usize| match entries.get(id) {
            Some(Entry::Datagram(datagram)) => datagram.wants(flow.remote),
            _ => false,
        };
        // smoltcp still hears a group of IPv6 that was left over the loopback.
        let left = flow.local.address.is_multicast()
            && !is_all_nodes(flow.local.address)
            && !self.has_member(flow.local);
        if left {
            return;
        }
        if !to_many {
            let wants = |id| wants(&self.entries, id);
            return match self.claims.find(Protocol::Udp, &flow, &wants) {
                Some(id) => self.deliver(id, link, bytes),
                None => self.take_datagram_for_nobody(flow, link, bytes),
            };
        }
        let found: Vec<usize> = self
            .claims
            .all(Protocol::Udp, flow.local.port)
            .filter(|id| wants(&self.entries, *id))
            .collect();
        if found.is_empty() {
            // DHCP answers everybody.
            return self.take_datagram_for_nobody(flow, link, bytes);
        }
        for id in found {
            self.deliver(id, link, bytes);
        }
    }

    fn deliver(&mut self, id: usize, link: usize, bytes: &[u8]) {
        let now = self.now;
        let Some(Entry::Datagram(datagram)) = self.entries.get_mut(id) else {
            return;
        };
        self.links[link].take(now, bytes, &mut datagram.set);
        let signal = datagram.signal.clone();
        self.wake(&signal);
    }

    /// Takes the first datagram that has come: its length, which may be more than the buffer's, and its sender.
    ///
    /// # Errors
    ///
    /// What has gone wrong.
    pub fn receive_datagram(
        &mut self,
        id: usize,
        buffer: &mut [u8],
        peek: bool,
    ) -> Result<Option<(usize, Endpoint)>> {
        let datagram = self.datagram(id)?;
        if let Some(error) = datagram.error.take() {
            return Err(error);
        }
        let udp = datagram.udp();
        let copy = |bytes: &[u8], buffer: &mut [u8]| {
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            length
        };
        let found = if peek {
            udp.peek().map(|(bytes, metadata)| (copy(bytes, buffer), *metadata)).ok()
        } else {
            udp.recv().map(|(bytes, metadata)| (copy(bytes, buffer), metadata)).ok()
        };
        let end = datagram.read_shut.then_some(datagram.peer).flatten();
        Ok(found
            .map(|(length, metadata)| (length, Endpoint::of_wire(metadata.endpoint)))
            .or(end.map(|(peer, _)| (0, peer))))
    }

    /// Shuts a connected socket's halves: nothing is read, or written, any more.
    ///
    /// # Errors
    ///
    /// [`Error::NotConnected`].
    pub fn shutdown_datagram(&mut self, id: usize, how: Shutdown) -> Result<()> {
        let datagram = self.datagram(id)?;
        if datagram.peer.is_none() {
            return Err(Error::NotConnected);
        }
        datagram.read_shut |= how != Shutdown::Write;
        datagram.write_shut |= how != Shutdown::Read;
        let signal = datagram.signal.clone();
        self.wake(&signal);
        Ok(())
    }

    /// A datagram did not arrive.
    pub fn datagram_undelivered(&mut self, flow: Flow, reason: Error) {
        let sent = |id| match self.entries.get(id) {
            // Who has not connected cannot know which one was meant.
            Some(Entry::Datagram(datagram)) => {
                datagram.peer.is_some_and(|(peer, _)| peer == flow.remote)
            }
            _ => false,
        };
        if let Some(id) = self.claims.find(Protocol::Udp, &flow, &sent)
            && let Ok(datagram) = self.datagram(id)
        {
            datagram.error = Some(reason);
            let signal = datagram.signal.clone();
            self.wake(&signal);
        }
    }

    /// Makes a socket a member of a group, or ends that. `link` is a link's number, or `None` for any.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] when the address is no group's; [`Error::AddressInUse`] when it is a member;
    /// [`Error::AddressNotAvailable`] when it is none; [`Error::NoDevice`]; [`Error::OutOfMemory`] when the link
    /// can join no more.
    pub fn change_membership(
        &mut self,
        id: usize,
        group: IpAddr,
        link: Option<usize>,
        join: bool,
    ) -> Result<()> {
        if !group.is_multicast() {
            return Err(Error::InvalidArgument);
        }
        // Any is the first card, or this machine alone.
        let link = link.unwrap_or(usize::from(self.links.len() > 1));
        if link >= self.links.len() {
            return Err(Error::NoDevice);
        }
        let groups = &mut self.datagram(id)?.groups;
        let place = groups.iter().position(|own| *own == (group, link));
        match (join, place) {
            (true, Some(_)) => return Err(Error::AddressInUse),
            (true, None) => groups.push((group, link)),
            (false, Some(place)) => _ = groups.swap_remove(place),
            (false, None) => return Err(Error::AddressNotAvailable),
        }
        let is_left = !self.entries.iter().any(|(_, entry)| match entry {
            Entry::Datagram(datagram) => datagram.groups.iter().any(|own| own.0 == group),
            _ => false,
        });
        for number in [LOOPBACK, link] {
            let interface = self.links[number].interface();
            if join {
                let joined = interface.join_multicast_group(group);
                if joined.is_err() {
                    let groups = &mut self.datagram(id)?.groups;
                    groups.retain(|own| *own != (group, link));
                    return Err(Error::OutOfMemory);
                }
            } else if is_left {
                // It was joined.
                let _ = interface.leave_multicast_group(group);
            }
        }
        self.send_reports(link);
        Ok(())
    }

    /// A descriptor has been closed.
    pub fn release_datagram(&mut self, id: usize) {
        let Ok(datagram) = self.datagram(id) else {
            return;
        };
        let groups = core::mem::take(&mut datagram.groups);
        let link = datagram.link;
        let port = datagram.local.map(|local| local.port);
        for (group, link) in groups {
            if let Ok(datagram) = self.datagram(id) {
                datagram.groups.push((group, link));
            }
            // Each was joined on this link.
            let _ = self.change_membership(id, group, Some(link), false);
        }
        if let Some(port) = port {
            self.claims.remove(Protocol::Udp, port, id);
        }
        self.entries.try_remove(id);
        self.links[link].unpark(id);
    }

    /// Tells the routers of a link which groups it belongs to.
    fn send_reports(&mut self, link: usize) {
        let now = self.now;
        let mut none = SocketSet::new(Vec::new());
        // One report goes with each step.
        for _ in 0..16 {
            self.links[link].give(now, &mut none);
        }
    }
}

/// True for the group that every machine belongs to.
fn is_all_nodes(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets() == [224, 0, 0, 1],
        IpAddr::V6(address) => matches!(address.segments(), [0xff01 | 0xff02, 0, 0, 0, 0, 0, 0, 1]),
    }
}

fn datagram_has_error(entry: Option<&Entry>) -> bool {
    matches!(entry, Some(Entry::Datagram(datagram)) if datagram.error.is_some())
}
