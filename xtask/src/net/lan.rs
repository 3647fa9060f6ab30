//! A network of two: this host in a namespace of its own, and one machine.

use std::process::Command;
use std::sync::Arc;

use anyhow::Result;

use super::card::{Backend, Card};
use super::namespace::Namespace;
use crate::qemu::{Machine, Vm};

/// This host's addresses.
pub const HOST: &str = "10.0.0.1/24 fd00::1/64";
/// The machine's address.
pub const GUEST: &str = "10.0.0.2";
/// The length of the networks' prefix.
pub const PREFIX: u8 = 24;

/// A namespace with a TAP device, and the card at its other end.
pub struct Lan {
    /// Where the host's side is.
    pub namespace: Namespace,
    card: Card,
}

impl Lan {
    /// Makes one whose TAP device has as many queues as a machine like `vm` uses.
    pub fn new(machine: Machine, smp: u32) -> Result<Lan> {
        let namespace = Namespace::new()?;
        let queues = if machine == Machine::Microvm { 1 } else { smp };
        let tap = namespace.tap("tap", queues, HOST)?;
        let card = Card::new(0, Backend::Tap(Arc::new(tap)));
        Ok(Lan { namespace, card })
    }

    /// The machine in this network, with the address [`GUEST`].
    pub fn machine(&self, vm: Vm) -> Vm {
        Vm {
            network: vec![format!("ip={GUEST}/{PREFIX}"), "gw=10.0.0.1".to_owned()],
            ..self.connect(vm)
        }
    }

    /// The machine in this network, which is not told its address.
    pub fn connect(&self, vm: Vm) -> Vm {
        Vm { cards: vec![self.card.clone()], ..vm }
    }

    /// A command on this host's side.
    pub fn command(&self, program: &str) -> Command {
        self.namespace.command(program)
    }
}
