//! The network of a virtual machine: what a user asks for on the command line.

pub mod backlog;
pub mod card;
pub mod frames;
mod host;
pub mod http;
pub mod lan;
pub mod namespace;
pub mod publish;
pub mod random;
pub mod tap;
pub mod wire;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::qemu::Machine;
use card::{Backend, Card};
use publish::Publish;
use tap::Tap;

/// The network's options.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Network")]
pub struct NetArgs {
    /// Give the machine a network card: `user` reaches what this user can reach and needs no rights,
    /// `tap=NAME` is the TAP device NAME of this host, `tap` makes one with an address (needs
    /// CAP_NET_ADMIN), `none` gives none. Each use gives one more card
    #[arg(long = "net", value_name = "KIND", env = "SKETE_NET", value_delimiter = ',')]
    kinds: Vec<Kind>,

    /// Hand connections to a port of this host on to a port of the machine; ADDR is 127.0.0.1 when absent.
    /// Implies `--net user`
    #[arg(
        long,
        value_name = "[ADDR:]HOST:GUEST[/udp]",
        env = "SKETE_PUBLISH",
        value_delimiter = ','
    )]
    publish: Vec<Publish>,

    /// Write every frame of the first card to this file, of a second one to FILE.2, … (for Wireshark, tcpdump)
    #[arg(long, value_name = "FILE", env = "SKETE_PCAP")]
    pcap: Option<PathBuf>,

    /// The machine's address, for each card one: ADDRESS/PREFIX, `dhcp` or `none`; when absent, what the
    /// network tells (DHCP, router advertisements)
    #[arg(long, value_name = "ADDR/PREFIX", env = "SKETE_IP", value_delimiter = ',')]
    ip: Vec<Address>,

    /// The router to all other networks
    #[arg(long, value_name = "ADDR", env = "SKETE_GW")]
    gw: Option<IpAddr>,

    /// Name servers
    #[arg(long, value_name = "ADDR", env = "SKETE_DNS", value_delimiter = ',')]
    dns: Vec<IpAddr>,
}

/// What a network card is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// QEMU's own network, which needs no rights.
    User,
    /// A TAP device of this name, or one that is made.
    Tap(Option<String>),
    /// Nothing: there is no card.
    None,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        match text {
            "user" => Ok(Kind::User),
            "tap" => Ok(Kind::Tap(None)),
            "none" => Ok(Kind::None),
            _ => match text.strip_prefix("tap=") {
                Some("") => Err("the TAP device's name is missing after `tap=`".to_owned()),
                Some(name) => Ok(Kind::Tap(Some(name.to_owned()))),
                None => Err("there are: user, tap, tap=NAME, none".to_owned()),
            },
        }
    }
}

/// A card's address, as the kernel's option `ip=` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Dhcp,
    None,
    Fixed(IpAddr, u8),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        match text {
            "dhcp" => return Ok(Address::Dhcp),
            "none" => return Ok(Address::None),
            _ => {}
        }
        let error = || "write it like 10.0.0.2/24 or fd00::2/64, or say dhcp or none".to_owned();
        let (address, prefix) = text.split_once('/').ok_or_else(error)?;
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match prefix.parse() {
            Ok(prefix) if prefix <= most => Ok(Address::Fixed(address, prefix)),
            _ => Err(format!("the prefix of this address is a number from 0 to {most}")),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Dhcp => out.write_str("dhcp"),
            Address::None => out.write_str("none"),
            Address::Fixed(address, prefix) => write!(out, "{address}/{prefix}"),
        }
    }
}

/// A machine's network cards, and what its kernel is told of them.
#[derive(Debug, Default)]
pub struct Network {
    /// The cards.
    pub cards: Vec<Card>,
    /// Words of the kernel's command line.
    pub options: Vec<String>,
}

impl NetArgs {
    /// The cards' kinds: a port that is published needs a user network, which comes by itself.
    fn kinds(&self) -> Result<Vec<Kind>> {
        let none = self.kinds.contains(&Kind::None);
        ensure!(
            !none || self.kinds.len() == 1,
            "--net none stands beside another --net; leave one out"
        );
        let mut kinds = self.kinds.clone();
        kinds.retain(|kind| *kind != Kind::None);
        if !self.publish.is_empty() && !kinds.contains(&Kind::User) {
            ensure!(
                self.kinds.is_empty(),
                "--publish needs --net user: on a TAP device the machine has an address of its own, and \
                 without a network no port"
            );
            kinds.push(Kind::User);
        }
        ensure!(
            kinds.iter().filter(|&kind| *kind == Kind::User).count() < 2 || self.publish.is_empty(),
            "--publish with several --net user: it is not clear which one is meant"
        );
        for (given, option) in [
            (self.pcap.is_some(), "--pcap"),
            (!self.ip.is_empty(), "--ip"),
            (self.gw.is_some(), "--gw"),
            (!self.dns.is_empty(), "--dns"),
        ] {
            ensure!(
                !given || !kinds.is_empty(),
                "{option} without a network card: add --net user, or --net tap"
            );
        }
        ensure!(
            self.ip.len() <= kinds.len(),
            "--ip is given {} times, and there are {} network cards",
            self.ip.len(),
            kinds.len()
        );
        Ok(kinds)
    }

    /// Fails when something cannot be used, before anything is built.
    pub fn check(&self) -> Result<()> {
        for kind in self.kinds()? {
            if let Kind::Tap(Some(name)) = kind {
                Tap::check(&name)?;
            }
        }
        publish::check(&self.publish)?;
        if let Some(pcap) = &self.pcap {
            let directory = pcap.parent().filter(|path| !path.as_os_str().is_empty());
            let directory = directory.unwrap_or(Path::new("."));
            ensure!(
                directory.is_dir() && !pcap.is_dir(),
                "--pcap: no file can be written at {}",
                pcap.display()
            );
        }
        Ok(())
    }

    /// Makes ready what the cards are connected to, for a machine of this kind with so many processors.
    pub fn open(&self, machine: Machine, smp: u32) -> Result<Network> {
        let kinds = self.kinds()?;
        publish::check(&self.publish)?;
        // A card on PCI has a queue for each processor, one on MMIO a single interrupt anyway.
        let queues = match machine {
            Machine::Microvm => 1,
            Machine::Pc | Machine::Q35 => smp,
        };
        let mut network = Network::default();
        let mut gateway = self.gw;
        for (index, kind) in kinds.into_iter().enumerate() {
            let given = self.ip.get(index).cloned();
            let (backend, address) = match kind {
                Kind::User => {
                    let guest = match &given {
                        Some(Address::Fixed(IpAddr::V4(address), _)) => Some(*address),
                        _ => None,
                    };
                    let publish = self.publish.clone();
                    (Backend::User { publish, guest }, given)
                }
                Kind::Tap(Some(name)) => {
                    let tap = Tap::open(&name, queues)?;
                    (Backend::Tap(Arc::new(tap)), given)
                }
                Kind::Tap(None) => {
                    let tap = Tap::make("skete%d", queues)?;
                    let own = host::address(&tap)?;
                    eprintln!("skete: {}: this host is {}", tap.name(), own.host);
                    let address = given.unwrap_or_else(|| {
                        eprintln!("skete: {}: the machine is {}", tap.name(), own.guest);
                        gateway = gateway.or(Some(own.host.into()));
                        Address::Fixed(own.guest.into(), host::PREFIX)
                    });
                    (Backend::Tap(Arc::new(tap)), Some(address))
                }
                Kind::None => bail!("--net none is no network card"),
            };
            if let Some(address) = address {
                network.options.push(match index {
                    0 => format!("ip={address}"),
                    _ => format!("ip{index}={address}"),
                });
            }
            let pcap = self.pcap.as_deref().map(|pcap| pcap_file(pcap, index));
            let pcap = pcap.transpose()?;
            network.cards.push(Card { pcap, ..Card::new(index, backend) });
        }
        network.options.extend(gateway.map(|address| format!("gw={address}")));
        if !self.dns.is_empty() {
            let servers: Vec<_> = self.dns.iter().map(ToString::to_string).collect();
            network.options.push(format!("dns={}", servers.join(",")));
        }
        Ok(network)
    }
}

/// The file for a card's frames.
fn pcap_file(file: &Path, index: usize) -> Result<PathBuf> {
    let mut name = file.to_owned().into_os_string();
    if index > 0 {
        name.push(format!(".{}", index + 1));
    }
    std::path::absolute(&name).with_context(|| format!("--pcap {}", file.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        net: NetArgs,
    }

    fn read(line: &str) -> Result<NetArgs> {
        let words = std::iter::once("run").chain(line.split_whitespace());
        Ok(Line::try_parse_from(words)?.net)
    }

    fn opened(line: &str) -> Result<Network> {
        read(line)?.open(Machine::Microvm, 1)
    }

    #[test]
    fn there_is_no_card_unless_asked_for() -> Result<()> {
        assert!(opened("")?.cards.is_empty());
        assert!(opened("--net none")?.cards.is_empty());
        assert_eq!(opened("--net user")?.cards.len(), 1);
        assert_eq!(opened("--net user --net user")?.cards.len(), 2);
        Ok(())
    }

    #[test]
    fn the_kernel_is_told_its_addresses() -> Result<()> {
        let network = opened(
            "--net user --net user --ip 10.0.2.20/24 --ip dhcp --gw 10.0.2.2 --dns 10.0.2.3 --dns ::1",
        )?;
        let words = ["ip=10.0.2.20/24", "ip1=dhcp", "gw=10.0.2.2", "dns=10.0.2.3,::1"];
        assert_eq!(network.options, words);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_together_is_refused() -> Result<()> {
        for (line, part) in [
            ("--net none --net user", "beside another"),
            ("--net none --publish 8080:80", "--publish needs --net user"),
            ("--net tap=x --publish 8080:80", "--publish needs --net user"),
            ("--net user --net user --publish 8080:80", "several"),
            ("--ip dhcp", "--ip without a network card"),
            ("--pcap x", "--pcap without a network card"),
            ("--net user --ip dhcp --ip dhcp", "--ip is given 2 times"),
        ] {
            let error = read(line)?.kinds().err().context(line)?;
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
        Ok(())
    }

    #[test]
    fn words_that_mean_nothing_are_refused() {
        for line in [
            "--net wifi",
            "--net tap=",
            "--net user --ip 10.0.0.1",
            "--net user --ip 10.0.0.1/33",
            "--net user --gw router",
            "--publish 80",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn each_card_has_its_own_file_of_frames() -> Result<()> {
        let network = opened("--net user --net user --pcap /tmp/frames")?;
        let files: Vec<_> = network.cards.into_iter().filter_map(|card| card.pcap).collect();
        assert_eq!(files, ["/tmp/frames", "/tmp/frames.2"].map(PathBuf::from));
        Ok(())
    }
}
