//! Threads, locks, time, registers and memory under load on one and on many processors, for a short
//! while. `cargo xtask stress` does the same for minutes.

use std::time::Duration;

use super::super::case::{Case, Guest};
use super::super::expect::Expect;
use super::guest;
use crate::qemu::Machine;

const MIB: u64 = 1 << 20;

/// Long before this, the program's own watchdog sees a case that stands still.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The case `name` for so many seconds.
fn stress(name: &str, processors: u32, seconds: &str) -> (String, Guest) {
    let seed = processors.to_string();
    let guest = Guest {
        timeout: TIMEOUT,
        ..Guest::new("stress").smp(processors).args(&[name, &seed, seconds])
    };
    (format!("guest/stress/{name}/smp{processors}"), guest)
}

pub fn all() -> Vec<Case> {
    let walk = Expect::status(0).out(" 0 failed").stderr("");
    let mut cases = vec![
        (stress("million", 1, "0"), walk.clone()),
        (stress("all", 1, "0.3"), walk.clone()),
        (stress("all", 2, "0.3"), walk.clone().out("2 processors")),
        (stress("all", 4, "0.3"), walk.clone().out("4 processors")),
    ];
    for processors in [1, 4] {
        let (name, guest) = stress("many", processors, "0");
        cases.push(((name, guest.memory(1024 * MIB)), walk.clone().out("10000 threads")));
        cases.push((stress("limit", processors, "0"), walk.clone()));
        let end = Expect::status(42).out("threads are left").stderr("");
        cases.push((stress("exit", processors, "0.1"), end));
    }
    cases.extend(found());
    let cases = cases.into_iter();
    cases.map(|((name, what), expect)| guest(&name, what, expect)).collect()
}

/// Machines of every kind, on each of which all processors are found and take part.
fn found() -> Vec<((String, Guest), Expect)> {
    let machines: [(&str, Machine, u32, &[&str]); 5] = [
        ("microvm", Machine::Microvm, 8, &[]),
        ("pc", Machine::Pc, 4, &[]),
        // Processors whose numbers have gaps.
        ("sockets", Machine::Q35, 6, &["-smp", "6,sockets=2,cores=3"]),
        ("no-x2apic", Machine::Pc, 3, &["-cpu", "max,-x2apic"]),
        ("many", Machine::Q35, 64, &[]),
    ];
    let cases = machines.into_iter().map(|(name, machine, count, options)| {
        let (_, guest) = stress("processors", count, "0.1");
        let guest = Guest {
            qemu: options.iter().map(|&option| option.to_owned()).collect(),
            ..guest.on(machine)
        };
        let expect = Expect::status(0).out(&format!("{count} processors")).stderr("");
        ((format!("guest/processors/{name}"), guest), expect)
    });
    cases.collect()
}
