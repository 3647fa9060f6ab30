//! Threads, locks, time, registers and memory under load on one and on many processors, for a short
//! while. `cargo xtask stress` does the same for minutes.

use std::time::Duration;

use super::super::case::{Case, Guest};
use super::super::expect::Expect;
use super::guest;

const MIB: u64 = 1 << 20;

/// Long before this, the program's own watchdog sees a case that stands still.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The case `name` for so many seconds.
fn stress(name: &str, processors: u32, seconds: &str) -> (String, Guest) {
    let seed = processors.to_string();
    let guest = Guest {
        timeout: TIMEOUT,
        ..Guest::new("stress")
            .smp(processors)
            .args(&[name, &seed, seconds])
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
        cases.push((
            (name, guest.memory(1024 * MIB)),
            walk.clone().out("10000 threads"),
        ));
        cases.push((stress("limit", processors, "0"), walk.clone()));
        let end = Expect::status(42).out("threads are left").stderr("");
        cases.push((stress("exit", processors, "0.1"), end));
    }
    let cases = cases.into_iter();
    cases
        .map(|((name, what), expect)| guest(&name, what, expect))
        .collect()
}
