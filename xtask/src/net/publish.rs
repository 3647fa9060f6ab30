//! Ports of this host that are handed on to a machine on a user network.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::str::FromStr;

use anyhow::{Result, bail};

/// A port of this host and the machine's port that stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where this host listens.
    pub host: SocketAddrV4,
    /// The machine's port.
    pub guest: u16,
    /// UDP instead of TCP.
    pub udp: bool,
}

impl FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Publish, String> {
        let error = || "write it like 8080:80, 0.0.0.0:8080:80 or 5353:53/udp".to_owned();
        let (ports, udp) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), false),
            Some((ports, "udp")) => (ports, true),
            Some(_) => return Err(error()),
        };
        let port = |text: &str| text.parse().ok().filter(|&port| port > 0_u16);
        let parts: Vec<_> = ports.split(':').collect();
        let (address, host, guest) = match parts[..] {
            [host, guest] => (Ipv4Addr::LOCALHOST, host, guest),
            [address, host, guest] => (address.parse().map_err(|_| error())?, host, guest),
            _ => return Err(error()),
        };
        Ok(Publish {
            host: SocketAddrV4::new(address, port(host).ok_or_else(error)?),
            guest: port(guest).ok_or_else(error)?,
            udp,
        })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.guest)?;
        out.write_str(if self.udp { "/udp" } else { "" })
    }
}

impl Publish {
    /// QEMU's `hostfwd` rule; `guest` is the machine's address, when absent the first one that QEMU gives.
    pub fn rule(&self, guest: Option<Ipv4Addr>) -> String {
        let protocol = if self.udp { "udp" } else { "tcp" };
        let (address, port) = (self.host.ip(), self.host.port());
        let guest = guest.map_or(String::new(), |guest| guest.to_string());
        format!("hostfwd={protocol}:{address}:{port}-{guest}:{}", self.guest)
    }
}

/// Fails, and says why, when this host cannot listen on one of the ports.
pub fn check(published: &[Publish]) -> Result<()> {
    for (index, one) in published.iter().enumerate() {
        let same = |other: &&Publish| other.host == one.host && other.udp == one.udp;
        if published[..index].iter().any(|other| same(&other)) {
            bail!("--publish {one}: port {} is published twice", one.host.port());
        }
        let listened = match one.udp {
            true => UdpSocket::bind(one.host).map(drop),
            false => TcpListener::bind(one.host).map(drop),
        };
        match listened {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                "--publish {one}: port {} of {} is in use by another program; choose another one",
                one.host.port(),
                one.host.ip()
            ),
            Err(error) => bail!("--publish {one}: this host cannot listen there: {error}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read() {
        let read =
            |text: &str| text.parse::<Publish>().map(|one| (one.to_string(), one.rule(None)));
        let pair = |shown: &str, rule: &str| Ok((shown.to_owned(), rule.to_owned()));
        assert_eq!(read("8080:80"), pair("127.0.0.1:8080:80", "hostfwd=tcp:127.0.0.1:8080-:80"));
        assert_eq!(
            read("0.0.0.0:5353:53/udp"),
            pair("0.0.0.0:5353:53/udp", "hostfwd=udp:0.0.0.0:5353-:53")
        );
        for wrong in
            ["", "80", "80:", ":80", "a:80", "0:80", "80:0", "1:2:3", "80:70000", "80:80/sctp"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_in_use_is_named() -> Result<()> {
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let port = taken.local_addr()?.port();
        let one: Publish = format!("{port}:80").parse().map_err(anyhow::Error::msg)?;
        let error = check(&[one]).err().map(|error| error.to_string());
        assert!(
            error.is_some_and(|text| text.contains(&format!("port {port} of 127.0.0.1 is in use")))
        );
        drop(taken);
        let error = check(&[one, one]).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains("twice")));
        Ok(())
    }
}
