//! All cases, by what they are about.

mod alone;
mod backtraces;
mod cards;
mod clocks;
mod devices;
mod ecosystem;
mod exits;
mod faults;
mod images;
mod init;
mod measuring;
pub mod monitor;
pub mod net;
mod network_options;
mod programs;
mod roots;
mod roots_damaged;
mod streams;
mod stress;
pub mod tools;
mod variants;
mod vsock;

use super::case::{Case, Doing, Guest};
use super::expect::Expect;
use crate::qemu::Machine;

/// Every kind of machine.
const MACHINES: [Machine; 3] = [Machine::Microvm, Machine::Pc, Machine::Q35];

/// All cases. Those that take longest come first, so that none is left alone at the end.
pub fn all() -> Vec<Case> {
    [
        ecosystem::all(),
        init::all(),
        monitor::all(),
        clocks::all(),
        vsock::all(),
        variants::all(),
        stress::all(),
        roots::all(),
        roots_damaged::all(),
        programs::all(),
        cards::all(),
        devices::all(),
        streams::all(),
        faults::all(),
        backtraces::all(),
        exits::all(),
        images::all(),
        measuring::all(),
        net::all(),
        network_options::all(),
        tools::all(),
        alone::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A case that boots a program on one machine, microvm.
fn guest(name: &str, guest: Guest, expect: Expect) -> Case {
    Case { name: name.to_owned(), doing: Doing::Guest(Box::new(guest), expect) }
}

/// The same case on every kind of machine.
fn everywhere(name: &str, what: &Guest, expect: &Expect) -> Vec<Case> {
    let on = |machine| {
        let name = format!("{name}/{}", machine_name(machine));
        guest(&name, what.clone().on(machine), expect.clone())
    };
    MACHINES.map(on).into()
}

/// The same with a network card: without one, a socket for all addresses is an error.
fn with_card(mut guest: Guest) -> Guest {
    let device = match guest.machine {
        Machine::Microvm => "virtio-net-device,netdev=card",
        Machine::Pc | Machine::Q35 => "virtio-net-pci,netdev=card",
    };
    let card = ["-netdev", "user,id=card,restrict=on", "-device", device];
    guest.qemu.extend(card.map(str::to_owned));
    guest
}

fn machine_name(machine: Machine) -> String {
    format!("{machine:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_used_once() {
        let names = all().into_iter().map(|case| case.name).collect::<Vec<_>>();
        let unique = names.iter().collect::<BTreeSet<_>>();
        assert_eq!(unique.len(), names.len());
    }
}
