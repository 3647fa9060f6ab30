//! This host's side of a TAP device: an address, and the one for the machine.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::tap::Tap;
use crate::process;

/// The length of the network's prefix.
pub const PREFIX: u8 = 24;

/// The two ends' addresses.
pub struct Ends {
    /// This host's.
    pub host: Ipv4Addr,
    /// The machine's.
    pub guest: Ipv4Addr,
}

/// Gives this host an address on a TAP device, in a private network that no interface has an address of,
/// and brings the device up. Both are gone with the device.
pub fn address(tap: &Tap) -> Result<Ends> {
    if process::which("ip").is_none() {
        bail!("--net tap needs the program `ip` (package iproute2)");
    }
    let used = process::output(Command::new("ip").args(["-oneline", "-4", "addr", "show"]))?;
    let ends = free(&used).context("all networks 10.78.0.0/24 to 10.78.255.0/24 are in use")?;
    let name = tap.name();
    let address = format!("{}/{PREFIX}", ends.host);
    process::output(Command::new("ip").args(["addr", "add", &address, "dev", name]))?;
    process::output(Command::new("ip").args(["link", "set", name, "up"]))?;
    Ok(ends)
}

/// The first network that does not occur in what `ip addr` shows.
fn free(shown: &str) -> Option<Ends> {
    let number = (0..=255_u8).find(|number| !shown.contains(&format!(" 10.78.{number}.")))?;
    Some(Ends { host: Ipv4Addr::new(10, 78, number, 1), guest: Ipv4Addr::new(10, 78, number, 2) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_network_is_found() {
        let host = |shown| free(shown).map(|ends| ends.host.to_string());
        assert_eq!(host("").as_deref(), Some("10.78.0.1"));
        let shown = "2: skete0    inet 10.78.0.1/24 scope global skete0\n";
        assert_eq!(host(shown).as_deref(), Some("10.78.1.1"));
    }
}
