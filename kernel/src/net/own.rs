//! The addresses of a link: given on the command line, by DHCP, by routers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;

use smoltcp::iface::{Interface, Route, SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr};

use super::advertisement;
use super::link::Link;
use super::port::Port;
use crate::boot;
use crate::debug::{Level, Line};

/// How long an answer of a DHCP server is waited for before that is told.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long sockets wait for an address.
const CONFIGURING: Duration = Duration::from_secs(10);
/// How often DHCP is asked before there is an answer.
const ASKING: Duration = Duration::from_secs(2);
/// How often routers are asked for, at most three times (RFC 4861, 6.3.7), and their word is looked at.
const SOLICITING: Duration = Duration::from_secs(4);
/// How often it is looked at later.
const LOOKING: Duration = Duration::from_secs(60);
/// How many name servers routers may tell of.
const SERVERS: usize = 8;

/// How a link comes by its addresses.
pub struct Own {
    /// Its place among the cards, from 0 on.
    number: usize,
    /// The socket of DHCP, if that is used.
    dhcp: Option<SocketHandle>,
    /// Listens to routers. smoltcp's clock for routers stops the sockets' when both share an interface.
    scout: Option<Box<Interface>>,
    /// What the scout was told last.
    told: Vec<IpCidr>,
    /// The name servers of DHCP.
    leased: Vec<IpAddr>,
    /// Those of routers, and until when they may be asked.
    advertised: Vec<(Ipv6Addr, Instant)>,
    scouted: u8,
    began: Instant,
    warned: bool,
    /// It has an address, or nothing more is waited for.
    pub settled: bool,
    /// When there is something to do next.
    pub next: Instant,
}

/// The values of an option for the card with this number: `ip` is for the first, `ip1` for the second.
fn values(number: usize) -> Vec<&'static str> {
    let name = match number {
        0 => "ip",
        1 => "ip1",
        2 => "ip2",
        3 => "ip3",
        4 => "ip4",
        5 => "ip5",
        6 => "ip6",
        _ => "ip7",
    };
    words(name)
}

/// What stands between the commas of all options with this name.
fn words(name: &'static str) -> Vec<&'static str> {
    let mut words = Vec::new();
    for value in boot::options(name) {
        for word in value.split(',') {
            words.push(word);
        }
    }
    words
}

/// The addresses that an option gives: one that is none is told of.
fn addresses(name: &'static str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for word in words(name) {
        if let Some(address) = parse(name, word) {
            addresses.push(address);
        }
    }
    addresses
}

fn parse<T: FromStr>(name: &str, word: &str) -> Option<T> {
    let parsed = word.parse().ok();
    if parsed.is_none() {
        Line::log(Level::Error, |line| {
            line.text("network: `")
                .text(name)
                .text("=")
                .text(word)
                .text("` is no address: use for example ip=10.0.0.2/24,fd00::2/64 gw=10.0.0.1 dns=10.0.0.1, or ip=dhcp, or ip=none");
        });
    }
    parsed
}

/// The name servers of the command line.
pub fn name_servers() -> Vec<IpAddr> {
    addresses("dns")
}

/// The link-local address of a card (RFC 4291, appendix A).
fn link_local(mac: [u8; 6]) -> IpCidr {
    let [a, b, c, d, e, f] = mac;
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&[0xfe, 0x80]);
    bytes[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    IpCidr::new(Ipv6Addr::from(bytes).into(), 64)
}

impl Own {
    /// Gives a card's link what the command line says, and begins to ask for the rest.
    pub fn begin(link: &mut Link, number: usize, mac: [u8; 6], now: Instant) -> Own {
        let mut own = Own {
            number,
            dhcp: None,
            scout: None,
            told: Vec::new(),
            leased: Vec::new(),
            advertised: Vec::new(),
            scouted: 0,
            began: now,
            warned: false,
            settled: false,
            next: now,
        };
        let mut given = Vec::new();
        let values = values(number);
        let mut dhcp = values.is_empty();
        let mut any = true;
        for word in values {
            match word {
                "dhcp" => dhcp = true,
                "none" => any = false,
                word => given.extend(parse::<IpCidr>("ip", word)),
            }
        }
        if !any {
            own.settled = true;
            own.next = Instant::from_micros(i64::MAX);
            return own;
        }
        let static_v6 = given.iter().any(|address| matches!(address, IpCidr::Ipv6(_)));
        own.settled = !given.is_empty();
        let local = link_local(mac);
        link.interface().update_ip_addrs(|addresses| {
            let _ = addresses.push(local);
            for address in given.iter().copied() {
                if addresses.push(address).is_err() {
                    break;
                }
            }
        });
        for gateway in addresses("gw") {
            if link.reaches(gateway) {
                set_gateway(link.interface(), gateway);
            }
        }
        own.tell(link, " (command line)");
        if dhcp {
            let mut socket = dhcpv4::Socket::new();
            let mut retry = dhcpv4::RetryConfig::default();
            retry.discover_timeout = ASKING;
            retry.initial_request_timeout = ASKING;
            socket.set_retry_config(retry);
            own.dhcp = Some(link.own.add(socket));
        }
        if !static_v6 {
            let mut scout = Interface::new(
                Link::configuration(HardwareAddress::Ethernet(EthernetAddress(mac)), true),
                &mut Port::new(&mut link.exit),
                now,
            );
            scout.update_ip_addrs(|addresses| {
                let _ = addresses.push(local);
            });
            own.scout = Some(Box::new(scout));
        }
        own
    }

    /// Does what is due, true when an address has come or gone.
    pub fn work(&mut self, link: &mut Link, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        let mut changed = self.work_dhcp(link, now);
        let mut next = link.next_of_own(now).unwrap_or(now + LOOKING);
        if let Some(scout) = &mut self.scout {
            let mut none = SocketSet::new(Vec::new());
            scout.poll_egress(now, &mut Port::new(&mut link.exit), &mut none);
            self.scouted = self.scouted.saturating_add(1);
            let again = if self.scouted <= 4 { SOLICITING } else { LOOKING };
            next = next.min(now + again);
        }
        changed |= self.follow_scout(link, now);
        self.follow_servers(link, now);
        if !self.settled {
            changed |= self.wait(now);
            next = next.min(self.began + if self.warned { CONFIGURING } else { PATIENCE });
        }
        self.next = next.max(now + Duration::from_millis(1));
        changed
    }

    /// An advertisement of a router has come.
    pub fn hear(&mut self, link: &mut Link, now: Instant, frame: &[u8]) -> bool {
        if let Some(scout) = &mut self.scout {
            let mut none = SocketSet::new(Vec::new());
            let mut port = Port::with_frame(&mut link.exit, frame);
            scout.poll_ingress_single(now, &mut port, &mut none);
            for (server, lifetime) in advertisement::name_servers(frame) {
                let until = now + lifetime;
                let room = self.advertised.len() < SERVERS;
                match self.advertised.iter_mut().find(|(own, _)| *own == server) {
                    Some(known) => known.1 = until,
                    None if room => self.advertised.push((server, until)),
                    None => {}
                }
            }
        }
        let changed = self.follow_servers(link, now);
        if self.follow_scout(link, now) {
            return true;
        }
        if changed {
            self.tell(link, " (router)");
        }
        changed
    }

    /// Gives the link the name servers that are known; true when they are others than before.
    fn follow_servers(&mut self, link: &mut Link, now: Instant) -> bool {
        self.advertised.retain(|(_, until)| now < *until);
        let mut servers = self.leased.clone();
        for (server, _) in &self.advertised {
            servers.push((*server).into());
        }
        let changed = servers != link.name_servers;
        link.name_servers = servers;
        changed
    }

    fn work_dhcp(&mut self, link: &mut Link, now: Instant) -> bool {
        let Some(handle) = self.dhcp else {
            return false;
        };
        link.give_own(now);
        let event = link.own.get_mut::<dhcpv4::Socket<'_>>(handle).poll();
        match event {
            None => false,
            Some(dhcpv4::Event::Configured(lease)) => {
                let (address, router) = (lease.address, lease.router);
                let servers = lease.dns_servers.iter().copied().map(IpAddr::V4).collect();
                set_v4(link.interface(), Some(address));
                if let Some(router) = router
                    && boot::options("gw").next().is_none()
                {
                    set_gateway(link.interface(), router.into());
                }
                self.leased = servers;
                self.follow_servers(link, now);
                self.settled = true;
                self.tell(link, " (DHCP)");
                true
            }
            Some(dhcpv4::Event::Deconfigured) => {
                if link.addresses().iter().any(|own| matches!(own, IpCidr::Ipv4(_))) {
                    self.log(
                        Level::Warn,
                        " has lost its address: the DHCP server has not prolonged it",
                    );
                }
                set_v4(link.interface(), None);
                true
            }
        }
    }

    /// Gives the link what routers have told the scout.
    fn follow_scout(&mut self, link: &mut Link, now: Instant) -> bool {
        let Some(scout) = &mut self.scout else {
            return false;
        };
        scout.poll_maintenance(now);
        let told: Vec<IpCidr> = scout.ip_addrs().iter().skip(1).copied().collect();
        let routes: Vec<Route> = scout.routes().get_default_ipv6_route().into_iter().collect();
        if told == self.told {
            return false;
        }
        let before = core::mem::replace(&mut self.told, told);
        let told = &self.told;
        link.interface().update_ip_addrs(|addresses| {
            addresses.retain(|address| !before.contains(address));
            for address in told {
                let _ = addresses.push(*address);
            }
        });
        for route in routes {
            set_gateway(link.interface(), route.via_router.into());
        }
        self.tell(link, " (router)");
        true
    }

    /// Says, once, that nobody answers; true when it is not waited for any longer.
    fn wait(&mut self, now: Instant) -> bool {
        if self.dhcp.is_some() && !self.warned && now >= self.began + PATIENCE {
            self.warned = true;
            self.log(
                Level::Warn,
                " has no address: no DHCP server has answered for 5 s; give it one with ip=ADDRESS/PREFIX gw=ADDRESS (--ip, --gw)",
            );
        }
        if now >= self.began + CONFIGURING || self.dhcp.is_none() {
            self.settled = true;
        }
        self.settled
    }

    fn log(&self, level: Level, text: &str) {
        Line::log(level, |line| {
            line.text("network: eth").number(self.number as u64).text(text);
        });
    }

    /// Says what addresses the link has.
    fn tell(&self, link: &mut Link, from: &str) {
        Line::log(Level::Info, |line| {
            line.text("network: eth").number(self.number as u64);
            for address in link.addresses() {
                line.text(" ").display(address);
            }
            for server in &link.name_servers {
                line.text(" dns ").display(server);
            }
            line.text(from);
        });
    }
}

fn set_v4(interface: &mut Interface, address: Option<Ipv4Cidr>) {
    interface.update_ip_addrs(|addresses| {
        addresses.retain(|own| !matches!(own, IpCidr::Ipv4(_)));
        if let Some(address) = address {
            let _ = addresses.push(IpCidr::Ipv4(address));
        }
    });
    if address.is_none() {
        interface.routes_mut().remove_default_ipv4_route();
    }
}

fn set_gateway(interface: &mut Interface, gateway: IpAddr) {
    let routes = interface.routes_mut();
    // The table has room for each family's.
    let _ = match gateway {
        IpAddr::V4(gateway) => routes.add_default_ipv4_route(gateway).map(drop),
        IpAddr::V6(gateway) => routes.add_default_ipv6_route(gateway).map(drop),
    };
}
