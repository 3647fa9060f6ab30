//! What smoltcp sees of a link for one step: at most one frame in, any number out.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroUsize};

use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::arch;
use crate::drivers::net::{Offloads, Transmitter};

/// Bytes of the largest packet of the loopback: what the length field of IP can say.
pub const LOOPBACK_MTU: usize = 65535;
/// Bytes of an Ethernet header.
pub const ETHERNET_HEADER: usize = 14;
/// The way out over a network card.
#[derive(Debug)]
pub struct Outlet {
    /// One for each processor, or fewer.
    pub transmitters: Vec<Transmitter>,
    /// The longest IP packet.
    pub mtu: u16,
    /// The longest frame that the card takes to cut it.
    pub largest_frame: usize,
    /// What the card does to frames.
    pub offloads: Offloads,
}

impl Outlet {
    /// The running processor's.
    pub fn transmitter(&mut self) -> &mut Transmitter {
        let which = match self.transmitters.len() {
            1 => 0,
            count => arch::processor_number() as usize % count,
        };
        &mut self.transmitters[which]
    }
}

/// Where packets leave this machine, or do not.
#[derive(Debug)]
pub enum Exit {
    /// Packets of this machine for itself.
    Loopback(VecDeque<Vec<u8>>),
    /// A network card.
    Card(Outlet),
}

/// How a link works, as smoltcp wants to know it.
#[must_use]
pub fn capabilities(exit: &Exit) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    match exit {
        Exit::Loopback(_) => {
            capabilities.medium = Medium::Ip;
            capabilities.max_transmission_unit = LOOPBACK_MTU;
            // Nothing in between could change a bit.
            capabilities.checksum = smoltcp::phy::ChecksumCapabilities::ignored();
        }
        Exit::Card(card) => {
            capabilities.medium = Medium::Ethernet;
            capabilities.max_transmission_unit = usize::from(card.mtu) + ETHERNET_HEADER;
            let offloads = card.offloads;
            // What was received is checked before it comes here, unless the card has done so.
            let out = if offloads.checksum { Checksum::None } else { Checksum::Tx };
            capabilities.checksum.tcp = out;
            capabilities.checksum.udp = out;
            capabilities.segmentation.tcpv4 =
                NonZeroUsize::new(card.largest_frame).filter(|_| offloads.tcpv4);
            // smoltcp 0.14 drops packets of IPv6 that are longer than the link takes, also such as are to be cut.
            capabilities.segmentation.tcpv6 = None;
        }
    }
    capabilities
}

/// One step's view.
#[derive(Debug)]
pub struct Port<'a> {
    /// The frame that has come, if any.
    pub frame: Option<&'a [u8]>,
    /// Where others go.
    pub exit: &'a mut Exit,
}

impl<'a> Port<'a> {
    /// For a frame that has come.
    pub const fn with_frame(exit: &'a mut Exit, frame: &'a [u8]) -> Port<'a> {
        Port { frame: Some(frame), exit }
    }

    /// For what is to go.
    pub const fn new(exit: &'a mut Exit) -> Port<'a> {
        Port { frame: None, exit }
    }
}

impl Device for Port<'_> {
    type RxToken<'b>
        = Frame<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Slot<'b>
    where
        Self: 'b;

    fn receive(&mut self, _now: Instant) -> Option<(Frame<'_>, Slot<'_>)> {
        let frame = self.frame.take()?;
        if let Exit::Card(card) = self.exit {
            // Takes back what was sent: without a buffer the link's answer would be lost. When the card is full it
            // is, as it may be on any network.
            card.transmitter().can_transmit();
        }
        Some((Frame(frame), Slot { exit: self.exit, segment: None }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Slot<'_>> {
        if let Exit::Card(card) = self.exit
            && !card.transmitter().can_transmit()
        {
            return None;
        }
        Some(Slot { exit: self.exit, segment: None })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.exit)
    }
}

/// A frame that has come.
#[derive(Debug)]
pub struct Frame<'a>(&'a [u8]);

impl RxToken for Frame<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

/// Room for a frame that goes.
#[derive(Debug)]
pub struct Slot<'a> {
    exit: &'a mut Exit,
    segment: Option<NonZeroU16>,
}

impl TxToken for Slot<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        match self.exit {
            Exit::Loopback(queue) => {
                let mut packet = vec![0; length];
                let result = fill(&mut packet);
                queue.push_back(packet);
                result
            }
            Exit::Card(card) => card.transmitter().transmit(length, self.segment, fill),
        }
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size;
    }
}
