//! The stack: links, sockets, and what finds the one for a packet from the other.
//!
//! One lock guards all of it. Whoever holds it, a thread in a call or the network's own, carries each packet to
//! its end: from the card to the socket, and what the socket answers back to the card. Threads that wait for a
//! socket are woken once the lock is free again.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr};
use core::ops::{Deref, DerefMut};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use slab::Slab;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress};

use super::address::Flow;
use super::claims::Claims;
use super::closed::{Closed, Last};
use super::datagram::Datagram;
use super::frame::{self, Content, Protocol};
use super::link::{LOOPBACK, Link};
use super::listener::Listener;
use super::own::Own;
use super::port::{Exit, Outlet};
use super::ring::Rings;
use super::signal::Signal;
use super::stream::{Fresh, Stream};
use crate::debug::{Level, Line};
use crate::device::virtio::transport::Doorbell;
use crate::drivers::net::{Card, Receiver, Transmitter, cards};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, Result, random, sched, time};

/// A socket, of one kind or another.
#[derive(Debug)]
pub enum Entry {
    /// TCP, before it is known which side it will be.
    Fresh(Fresh),
    /// TCP, waiting for connections.
    Listener(Listener),
    /// A TCP connection.
    Stream(Box<Stream>),
    /// UDP.
    Datagram(Box<Datagram>),
}

/// The port of who asks a DHCP server (RFC 2131, 4.1).
const DHCP_CLIENT: u16 = 68;

/// Whose packets of a flow are.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// A connection's.
    Stream(usize),
    /// A connection's that is over.
    Closed(Last),
}

/// Everything.
pub struct Stack {
    /// The loopback first.
    pub links: Vec<Link>,
    /// All sockets.
    pub entries: Slab<Entry>,
    /// The connections among them, and what is left of others.
    pub flows: HashMap<Flow, Which, FixedState>,
    /// The ports that they have.
    pub claims: Claims,
    /// When what is left of connections is forgotten.
    pub closed: Closed,
    /// Buffers for connections.
    pub rings: Rings,
    /// The time of this step.
    pub now: Instant,
    /// Sockets that are looked at again at a time. One that was given an earlier time since stands here twice.
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Sockets that have something to do now.
    dirty: Vec<usize>,
    /// Those who are woken when the lock is free.
    woken: Vec<Arc<Signal>>,
    /// How the links behind the loopback come by their addresses.
    owns: Vec<Own>,
    /// What the cards bring, with the link it comes by. Nothing, while it is looked at.
    receivers: Vec<Option<Box<(usize, Receiver)>>>,
    /// The cards, whose queues are elsewhere.
    cards: Vec<Card>,
    /// For those who wait for an address.
    pub configured: Arc<Signal>,
}

impl core::fmt::Debug for Stack {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Stack")
            .field("links", &self.links)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

static STACK: Mutex<Option<Box<Stack>>> = Mutex::new(None);

/// The time, as the stack counts it.
pub fn now() -> Instant {
    Instant::from_micros((time::monotonic() / 1000) as i64)
}

/// The lock on the stack. What was begun under it is carried on when it is given back.
#[derive(Debug)]
pub struct Guard {
    guard: Option<MutexGuard<'static, Option<Box<Stack>>>>,
    /// It is held by the network's own thread.
    pub of_network: bool,
}

/// Takes the lock; the first brings the network up.
pub fn lock() -> Guard {
    sched::hold();
    let mut guard = STACK.lock_soon();
    match &mut *guard {
        Some(stack) => stack.now = now(),
        None => {
            let stack = guard.insert(Box::new(Stack::new()));
            stack.add_cards();
            super::thread::start();
            #[cfg(any(target_os = "none", skete_lint_arch))]
            super::end::prepare();
        }
    }
    Guard { guard: Some(guard), of_network: false }
}

impl Deref for Guard {
    type Target = Stack;
    fn deref(&self) -> &Stack {
        self.guard
            .as_ref()
            .and_then(|guard| guard.as_deref())
            .expect("the stack is there while its lock is held")
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Stack {
        self.guard
            .as_mut()
            .and_then(|guard| guard.as_deref_mut())
            .expect("the stack is there while its lock is held")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.settle();
        let bell = self.bell();
        let woken = core::mem::take(&mut self.woken);
        // The lock first: who is woken will want it, and a device may take its time to answer its bell.
        self.guard = None;
        if let Some(bell) = bell {
            bell.ring();
        }
        if let Some((last, others)) = woken.split_last() {
            for signal in others {
                signal.raise(false);
            }
            // The network's own thread looks for more and then waits: one of those who have something to do now
            // is served best right here.
            last.raise(self.of_network);
        }
        sched::release();
    }
}

impl Stack {
    fn new() -> Stack {
        let now = now();
        let mut seed = [0; 8];
        // Without random numbers, the tables can be made slow by who knows that.
        let _ = random::fill(&mut seed);
        let seed = u64::from_ne_bytes(seed);
        Stack {
            links: [Link::loopback(now)].into(),
            entries: Slab::new(),
            flows: HashMap::with_hasher(FixedState::with_seed(seed)),
            claims: Claims::default(),
            closed: Closed::default(),
            rings: Rings::default(),
            now,
            timers: BinaryHeap::new(),
            dirty: Vec::new(),
            woken: Vec::new(),
            owns: Vec::new(),
            receivers: Vec::new(),
            cards: Vec::new(),
            configured: Arc::default(),
        }
    }

    /// Has those woken who wait for a socket, once the lock is free.
    pub fn wake(&mut self, signal: &Arc<Signal>) {
        signal.set_empty(false);
        self.woken.push(signal.clone());
    }

    /// Notes that a socket has something to do.
    pub fn touch(&mut self, id: usize) {
        if let Some(Entry::Stream(stream)) = self.entries.get_mut(id)
            && core::mem::replace(&mut stream.dirty, true)
        {
            return;
        }
        self.dirty.push(id);
    }

    /// Has a socket looked at again, at `at`.
    pub fn schedule(&mut self, at: Instant, id: usize) {
        self.timers.push(Reverse((at, id)));
        if self.timers.peek() == Some(&Reverse((at, id))) {
            super::thread::expect(at);
        }
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<Instant> {
        let sockets = self.timers.peek().map(|Reverse((at, _))| *at);
        sockets.into_iter().chain(self.owns.iter().map(|own| own.next)).min()
    }

    /// Looks at the sockets whose time has come.
    pub fn expire(&mut self) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied()
            && at <= self.now
        {
            self.timers.pop();
            if self.timer_is_meant(id, at) {
                self.touch(id);
            }
        }
        self.expire_closed();
    }

    /// True when this time of a socket's is not one that was given up for an earlier one.
    fn timer_is_meant(&mut self, id: usize, at: Instant) -> bool {
        match self.entries.get_mut(id) {
            Some(Entry::Stream(stream)) => stream.timer.take_if(|own| *own == at).is_some(),
            Some(Entry::Datagram(datagram)) => datagram.timer.take_if(|own| *own == at).is_some(),
            _ => false,
        }
    }

    /// Does what there is to do, until there is nothing.
    pub fn settle(&mut self) {
        loop {
            while let Some(id) = self.dirty.pop() {
                self.serve(id);
            }
            match self.next_of_loopback() {
                Some(packet) => {
                    let content = frame::of_packet(&packet);
                    self.take(LOOPBACK, &packet, content);
                }
                None => break,
            }
        }
    }

    /// What tells a card of what was queued, if it has to be told. With several, all but one have been told.
    fn bell(&mut self) -> Option<Doorbell> {
        let mut bell: Option<Doorbell> = None;
        for link in &mut self.links {
            if let Exit::Card(outlet) = &mut link.exit {
                for next in outlet.transmitters.iter_mut().filter_map(Transmitter::bell) {
                    if let Some(other) = bell.replace(next) {
                        other.ring();
                    }
                }
            }
        }
        bell
    }

    fn next_of_loopback(&mut self) -> Option<Vec<u8>> {
        match &mut self.links[LOOPBACK].exit {
            Exit::Loopback(queue) => queue.pop_front(),
            Exit::Card(_) => None,
        }
    }

    /// Sends what a socket has to send, and tells who waits for it what has changed.
    fn serve(&mut self, id: usize) {
        match self.entries.get(id) {
            Some(Entry::Stream(_)) => self.serve_stream(id),
            Some(Entry::Datagram(_)) => self.serve_datagram(id),
            _ => {}
        }
    }

    /// Gives a frame that has come over a link to whom it is for.
    pub fn take(&mut self, link: usize, bytes: &[u8], content: Content) {
        match content {
            Content::Segment(flow, segment) => match self.flows.get(&flow).copied() {
                Some(Which::Stream(id)) => self.take_segment(id, link, bytes, segment),
                Some(Which::Closed(last)) if !last.is_followed_by(segment) => {
                    self.take_late(&flow, link, bytes, segment, last);
                }
                _ if segment.opens => self.take_opening(flow, link, bytes),
                _ => self.take_for_nobody(link, bytes),
            },
            Content::Datagram(flow) => self.take_datagram(flow, link, bytes),
            Content::Undelivered(protocol, flow, reason) => {
                self.take_undelivered(protocol, flow, reason);
            }
            Content::Advertisement => {
                self.take_for_nobody(link, bytes);
                let now = self.now;
                if let Some(own) = link.checked_sub(1).and_then(|own| self.owns.get_mut(own))
                    && own.hear(&mut self.links[link], now, bytes)
                {
                    let configured = self.configured.clone();
                    self.wake(&configured);
                }
            }
            Content::Other => {
                self.take_for_nobody(link, bytes);
                // It may have been the address of a neighbour.
                for place in 0..self.links[link].parked.len() {
                    self.touch(self.links[link].parked[place]);
                }
            }
        }
    }

    /// A frame that no socket is for: the link itself answers.
    pub fn take_for_nobody(&mut self, link: usize, bytes: &[u8]) {
        self.links[link].take_own(self.now, bytes);
    }

    /// A datagram that no socket is for.
    pub fn take_datagram_for_nobody(&mut self, flow: Flow, link: usize, bytes: &[u8]) {
        self.take_for_nobody(link, bytes);
        if flow.local.port == DHCP_CLIENT
            && let Some(own) = link.checked_sub(1).and_then(|own| self.owns.get_mut(own))
        {
            own.next = self.now;
        }
    }

    /// Brings up a link for each card.
    fn add_cards(&mut self) {
        for (number, mut card) in cards().into_iter().enumerate() {
            let link = self.links.len();
            let mut transmitters = Vec::new();
            for mut pair in card.pairs.drain(..) {
                pair.set_wake(&super::thread::EVENTS);
                self.receivers.push(Some(Box::new((link, pair.receiver))));
                transmitters.push(pair.transmitter);
            }
            if !card.link_up() {
                tell_link(number, false);
            }
            let outlet = Outlet {
                transmitters,
                mtu: card.mtu,
                largest_frame: card.largest_frame,
                offloads: card.offloads,
            };
            let address = HardwareAddress::Ethernet(EthernetAddress(card.mac));
            let mut link = Link::new(address, Exit::Card(outlet), self.now);
            self.owns.push(Own::begin(&mut link, number, card.mac, self.now));
            self.links.push(link);
            self.cards.push(card);
        }
    }

    /// Takes what the cards have brought, up to `most` frames of each queue; true when there may be more.
    pub fn receive(&mut self, most: usize) -> bool {
        let mut more = false;
        for place in 0..self.receivers.len() {
            let Some(mut taken) = self.receivers[place].take() else {
                continue;
            };
            let (link, receiver) = &mut *taken;
            let mut count = 0;
            while count < most
                && let Some(frame) = receiver.receive()
            {
                count += 1;
                if frame.checksum_is_good() || frame::checksum_is_right(&frame) {
                    self.take(*link, &frame, frame::of_ethernet(&frame));
                }
            }
            more |= count == most;
            self.receivers[place] = Some(taken);
        }
        more
    }

    fn receivers_mut(&mut self) -> impl Iterator<Item = &mut Receiver> {
        let receivers = self.receivers.iter_mut().flatten();
        receivers.map(|taken| &mut taken.1)
    }

    /// Lets the cards interrupt; false when there is something to do already.
    pub fn enable_interrupts(&mut self) -> bool {
        let mut quiet = true;
        for receiver in self.receivers_mut() {
            quiet &= receiver.enable_interrupt();
        }
        for link in &mut self.links {
            if let Exit::Card(outlet) = &mut link.exit {
                for transmitter in &mut outlet.transmitters {
                    quiet &= transmitter.enable_interrupt();
                }
            }
        }
        quiet
    }

    /// Asks the cards not to interrupt.
    pub fn disable_interrupts(&mut self) {
        for receiver in self.receivers_mut() {
            receiver.disable_interrupt();
        }
    }

    /// Lets those try again whose packets the cards had no room for.
    pub fn unblock(&mut self) {
        for number in 1..self.links.len() {
            let blocked = core::mem::take(&mut self.links[number].blocked);
            blocked.into_iter().for_each(|id| self.touch(id));
        }
    }

    /// Sees to the addresses of the links.
    pub fn work(&mut self) {
        let now = self.now;
        for (number, card) in self.cards.iter().enumerate() {
            if card.take_change() {
                tell_link(number, card.link_up());
            }
        }
        let mut changed = false;
        for (own, link) in self.owns.iter_mut().zip(&mut self.links[1..]) {
            changed |= own.work(link, now);
        }
        if changed {
            let configured = self.configured.clone();
            self.wake(&configured);
        }
    }

    /// True while an address may still come.
    #[must_use]
    pub fn is_configuring(&self) -> bool {
        self.owns.iter().any(|own| !own.settled)
    }

    fn take_undelivered(&mut self, protocol: Protocol, flow: Flow, reason: Error) {
        match protocol {
            Protocol::Tcp => {
                if let Some(&Which::Stream(id)) = self.flows.get(&flow) {
                    self.stream_undelivered(id, reason);
                }
            }
            Protocol::Udp => self.datagram_undelivered(flow, reason),
        }
    }

    /// The link that packets to `target` leave by; `scope` is the number of one, or 0.
    ///
    /// # Errors
    ///
    /// [`Error::NetworkUnreachable`]; [`Error::NetworkDown`] when there is no card at all.
    pub fn route(&self, target: IpAddr, scope: u32) -> Result<usize> {
        if target.is_loopback() || self.is_own(target) {
            return Ok(LOOPBACK);
        }
        if self.links.len() == 1 {
            return Err(super::no_device());
        }
        let cards = || self.links.iter().enumerate().skip(1);
        if scope != 0 {
            let index = scope as usize - 1;
            return match index < self.links.len() {
                true => Ok(index),
                false => Err(Error::NoDevice),
            };
        }
        if target.is_multicast() || is_broadcast(target) || is_link_local(target) {
            let found = cards().find(|(_, link)| {
                link.addresses()
                    .iter()
                    .any(|own| IpAddr::from(own.address()).is_ipv4() == target.is_ipv4())
            });
            return Ok(found.map_or(1, |(index, _)| index));
        }
        cards()
            .find(|(_, link)| link.reaches(target))
            .or_else(|| cards().find(|(_, link)| link.routes(target)))
            .map(|(index, _)| index)
            .ok_or(Error::NetworkUnreachable)
    }

    /// True when the address is one of this machine's.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.links.iter().any(|link| link.has(address))
    }

    /// The link that has an address.
    #[must_use]
    pub fn link_of(&self, address: IpAddr) -> Option<usize> {
        self.links.iter().position(|link| link.has(address))
    }

    /// True when a socket may be bound to an address.
    #[must_use]
    pub fn may_bind(&self, address: IpAddr) -> bool {
        address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || is_broadcast(address)
            || self.is_own(address)
    }

    /// A socket's entry that is a stream.
    ///
    /// # Errors
    ///
    /// [`Error::NotConnected`] when it is none.
    pub fn stream(&mut self, id: usize) -> Result<&mut Stream> {
        match self.entries.get_mut(id) {
            Some(Entry::Stream(stream)) => Ok(stream),
            _ => Err(Error::NotConnected),
        }
    }
}

/// Says that a card's link has come or gone.
fn tell_link(number: usize, up: bool) {
    Line::log(Level::Warn, |line| {
        line.text("network: eth").number(number as u64).text(match up {
            true => " has a link again",
            false => " has no link: nothing is at the other end of its cable",
        });
    });
}

/// True for the address of everybody on the link, and of everybody on the loopback.
#[must_use]
pub fn is_broadcast(address: IpAddr) -> bool {
    const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);
    matches!(address, IpAddr::V4(address) if address.is_broadcast() || address == LOOPBACK)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
