//! A network card of a virtual machine, as QEMU's command line describes it.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::publish::Publish;
use super::tap::Tap;
use crate::qemu::Machine;

/// A network card.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// What it is connected to.
    pub backend: Backend,
    /// Gets every frame.
    pub pcap: Option<PathBuf>,
}

/// What a network card is connected to.
#[derive(Clone, Debug)]
pub enum Backend {
    /// QEMU's own network.
    User {
        /// Ports of this host that are handed on.
        publish: Vec<Publish>,
        /// The machine's address, when it does not take the one that it is given.
        guest: Option<Ipv4Addr>,
    },
    /// A TAP device, by its open queues.
    Tap(Arc<Tap>),
    /// Unix datagram sockets, one frame a datagram: QEMU's and the one it sends to.
    Datagram {
        /// Where QEMU receives.
        own: PathBuf,
        /// Where QEMU sends to.
        peer: PathBuf,
    },
}

impl Card {
    /// A card with an address of its own: QEMU's usual one for the first, and for a TAP device, which
    /// may be in one network with others, one that is made of the device's name.
    pub fn new(index: usize, backend: Backend) -> Card {
        let mut mac: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
        mac[5] = mac[5].wrapping_add(index as u8);
        if let Backend::Tap(tap) = &backend {
            let hash = blake3::hash(tap.name().as_bytes());
            mac[3..].copy_from_slice(&hash.as_bytes()[..3]);
        }
        Card { mac, backend, pcap: None }
    }

    /// The TCP ports of this host that QEMU listens at for the machine.
    pub fn listens(&self) -> Vec<SocketAddrV4> {
        match &self.backend {
            Backend::User { publish, .. } => {
                let tcp = publish.iter().filter(|one| !one.udp);
                tcp.map(|one| one.host).collect()
            }
            _ => Vec::new(),
        }
    }

    /// QEMU's arguments for the card number `index`. The files have to stay open until QEMU runs.
    pub fn arguments(
        &self,
        index: usize,
        machine: Machine,
        open: &mut Vec<File>,
    ) -> Result<Vec<OsString>> {
        let id = format!("net{index}");
        let mut queues = 1;
        let backend = match &self.backend {
            Backend::User { publish, guest } => {
                let rules = publish.iter().map(|one| format!(",{}", one.rule(*guest)));
                format!("user,id={id}{}", rules.collect::<String>())
            }
            Backend::Tap(tap) => {
                queues = tap.queues().len();
                let mut fds = Vec::new();
                for queue in tap.queues() {
                    // Without the flag that closes it when QEMU is started.
                    let copy = rustix::io::dup(queue).context("cannot share a TAP device")?;
                    fds.push(copy.as_raw_fd().to_string());
                    open.push(File::from(copy));
                }
                let key = if queues == 1 { "fd" } else { "fds" };
                format!("tap,id={id},{key}={}", fds.join(":"))
            }
            Backend::Datagram { own, peer } => format!(
                "dgram,id={id},local.type=unix,local.path={},remote.type=unix,remote.path={}",
                comma(own),
                comma(peer)
            ),
        };
        let mac: Vec<_> = self.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        let mac = mac.join(":");
        let mut device = match machine {
            Machine::Microvm => format!("virtio-net-device,netdev={id},mac={mac}"),
            // No network boot, whose program may not be installed.
            Machine::Pc | Machine::Q35 => format!("virtio-net-pci,netdev={id},mac={mac},romfile="),
        };
        if queues > 1 {
            device += ",mq=on";
            if machine != Machine::Microvm {
                // Two for each pair of queues, one for the control queue, one for the configuration.
                device += &format!(",vectors={}", 2 * queues + 2);
            }
        }
        let mut arguments: Vec<OsString> =
            ["-netdev", &backend, "-device", &device].map(OsString::from).into();
        if let Some(pcap) = &self.pcap {
            let dump = format!("filter-dump,id=dump{index},netdev={id},file={}", comma(pcap));
            arguments.extend(["-object".into(), dump.into()]);
        }
        Ok(arguments)
    }
}

/// A path in an option of QEMU, where a comma is written twice.
fn comma(path: &std::path::Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_fits_its_machine() -> Result<()> {
        let card = Card {
            pcap: Some("/a,b".into()),
            ..Card::new(
                1,
                Backend::User {
                    publish: vec!["8080:80".parse().map_err(anyhow::Error::msg)?],
                    guest: Some(Ipv4Addr::new(10, 0, 2, 20)),
                },
            )
        };
        let words = |machine| -> Result<String> {
            let words = card.arguments(1, machine, &mut Vec::new())?;
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            Ok(words.join(" "))
        };
        assert_eq!(
            words(Machine::Microvm)?,
            "-netdev user,id=net1,hostfwd=tcp:127.0.0.1:8080-10.0.2.20:80 \
             -device virtio-net-device,netdev=net1,mac=52:54:00:12:34:57 \
             -object filter-dump,id=dump1,netdev=net1,file=/a,,b"
        );
        let pc = words(Machine::Pc)?;
        assert!(
            pc.contains("-device virtio-net-pci,netdev=net1,mac=52:54:00:12:34:57,romfile= "),
            "{pc}"
        );
        Ok(())
    }
}
