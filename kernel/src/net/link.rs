//! Links: the loopback, and one for each network card.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::port::{Exit, Port, capabilities};
use crate::random;

/// The number of the loopback, the first of the links.
pub const LOOPBACK: usize = 0;

/// A way out of this machine, or back into it.
pub struct Link {
    /// Its addresses, routes and neighbours.
    interface: Box<Interface>,
    /// Where its packets leave.
    pub exit: Exit,
    /// Sockets whose packets wait for the address of a neighbour.
    pub parked: Vec<usize>,
    /// Sockets whose packets wait for room.
    pub blocked: Vec<usize>,
    /// The link's own sockets.
    pub own: SocketSet<'static>,
    /// The servers that it was told to ask for names.
    pub name_servers: Vec<IpAddr>,
}

impl core::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Link")
            .field("addresses", &self.interface.ip_addrs())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// This machine's link to itself.
    pub fn loopback(now: Instant) -> Link {
        let mut link = Link::new(HardwareAddress::Ip, Exit::Loopback(VecDeque::new()), now);
        link.interface.update_ip_addrs(|addresses| {
            for (address, length) in
                [(IpAddr::V4(Ipv4Addr::LOCALHOST), 8), (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)]
            {
                let _ = addresses.push(IpCidr::new(address.into(), length));
            }
        });
        // The addresses of other links are reached over it too.
        link.interface.set_any_ip(true);
        link
    }

    /// A link over `exit`.
    pub fn new(address: HardwareAddress, exit: Exit, now: Instant) -> Link {
        let mut exit = exit;
        let configuration = Link::configuration(address, false);
        let interface = Interface::new(configuration, &mut Port::new(&mut exit), now);
        Link {
            interface: Box::new(interface),
            exit,
            parked: Vec::new(),
            blocked: Vec::new(),
            own: SocketSet::new(Vec::new()),
            name_servers: Vec::new(),
        }
    }

    /// How smoltcp's interface is made; `routers` has it listen to them.
    pub fn configuration(address: HardwareAddress, routers: bool) -> Config {
        let mut config = Config::new(address);
        let mut seed = [0; 8];
        // Without a source of random numbers, what can be guessed is how the machine was used.
        if random::fill(&mut seed).is_err() {
            seed = crate::time::monotonic().to_ne_bytes();
        }
        config.random_seed = u64::from_ne_bytes(seed);
        config.slaac = routers;
        config
    }

    /// Its addresses, routes and neighbours.
    pub fn interface(&mut self) -> &mut Interface {
        &mut self.interface
    }

    /// Its addresses.
    pub fn addresses(&self) -> &[IpCidr] {
        self.interface.ip_addrs()
    }

    /// True when it has this address.
    pub fn has(&self, address: IpAddr) -> bool {
        let wanted = address.into();
        self.addresses().iter().any(|own| own.address() == wanted)
    }

    /// True when the address is one of its network's.
    pub fn reaches(&self, address: IpAddr) -> bool {
        let wanted = address.into();
        self.addresses().iter().any(|own| own.contains_addr(&wanted))
    }

    /// True when it knows a router for this address.
    pub fn routes(&self, address: IpAddr) -> bool {
        let routes = self.interface.routes();
        match address {
            IpAddr::V4(_) => routes.get_default_ipv4_route().is_some(),
            IpAddr::V6(_) => routes.get_default_ipv6_route().is_some(),
        }
    }

    /// The own address that packets to `target` should come from.
    pub fn source_for(&self, target: IpAddr) -> Option<IpAddr> {
        let source = self.interface.get_source_address(&target.into())?;
        let source = IpAddr::from(source);
        (!source.is_unspecified()).then_some(source)
    }

    /// Notes that a socket waits for the address of a neighbour.
    pub fn park(&mut self, id: usize) {
        if !self.parked.contains(&id) {
            self.parked.push(id);
        }
    }

    /// Notes that a socket does not wait any more.
    pub fn unpark(&mut self, id: usize) {
        self.parked.retain(|other| *other != id);
    }

    /// Gives a frame to the sockets of `set`.
    pub fn take(&mut self, now: Instant, frame: &[u8], set: &mut SocketSet<'static>) {
        let mut port = Port::with_frame(&mut self.exit, frame);
        let result: PollIngressSingleResult =
            self.interface.poll_ingress_single(now, &mut port, set);
        debug_assert!(result != PollIngressSingleResult::None);
    }

    /// Sends up to one packet of each socket of `set`; false when nothing could be sent.
    pub fn give(&mut self, now: Instant, set: &mut SocketSet<'static>) -> bool {
        let mut port = Port::new(&mut self.exit);
        self.interface.poll_egress(now, &mut port, set) == PollResult::SocketStateChanged
    }

    /// Gives a frame to the link's own sockets, or lets the link itself answer.
    pub fn take_own(&mut self, now: Instant, frame: &[u8]) {
        let mut port = Port::with_frame(&mut self.exit, frame);
        self.interface.poll_ingress_single(now, &mut port, &mut self.own);
    }

    /// Sends what the link's own sockets have to send.
    pub fn give_own(&mut self, now: Instant) {
        loop {
            let mut port = Port::new(&mut self.exit);
            let result = self.interface.poll_egress(now, &mut port, &mut self.own);
            if result == PollResult::None {
                break;
            }
        }
    }

    /// When the link's own sockets have something to do next.
    pub fn next_of_own(&mut self, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, &self.own)
    }

    /// Throws away what the sockets of `set` would send.
    pub fn discard(&mut self, now: Instant, set: &mut SocketSet<'static>) {
        let mut nowhere = Exit::Loopback(VecDeque::new());
        loop {
            let mut port = Port::new(&mut nowhere);
            let result = self.interface.poll_egress(now, &mut port, set);
            if result == PollResult::None {
                break;
            }
        }
    }

    /// Bytes of the longest packet.
    pub fn mtu(&self) -> usize {
        capabilities(&self.exit).ip_mtu()
    }

    /// True for the address of everybody in its network.
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        self.addresses().iter().any(|own| match own {
            IpCidr::Ipv4(own) => own.broadcast() == Some(address),
            IpCidr::Ipv6(_) => false,
        })
    }

    /// When the sockets of `set` have something to do next.
    pub fn next(&mut self, now: Instant, set: &SocketSet<'static>) -> Option<Instant> {
        self.interface.poll_at(now, set)
    }
}
