//! Well-known crates at work: the programs of `tests/ecosystem`, which are built when their turn comes.

use super::super::case::{Case, Guest};
use super::super::expect::Expect;
use super::guest;

const MIB: u64 = 1 << 20;

pub fn all() -> Vec<Case> {
    let walk = Expect::status(0).out(" 0 failed").stderr("");
    let mut cases = Vec::new();
    for name in [
        "runtime", "reactor", "sockets", "server", "client", "crypto", "parallel", "property",
        "progress",
    ] {
        let what = super::with_card(Guest::built(name).memory(128 * MIB));
        cases.push(guest(&format!("ecosystem/{name}"), what, walk.clone()));
    }
    let measured =
        Expect::status(0).out("sort/1000 ").out("time:   [").out("thrpt:  [").out("measured\n");
    let bench = Guest::built("bench").args(&["--bench"]).memory(128 * MIB);
    cases.push(guest("ecosystem/bench", bench, measured));
    cases
}
