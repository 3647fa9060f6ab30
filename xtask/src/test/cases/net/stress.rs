//! What `cargo xtask stress --net` does: the tests of floods, loads and bad wires, with large counts.

use anyhow::Result;

use super::super::super::case::Bench;
use super::{hostile, load, tap};

/// A test with large counts; `seed` is for what is made up.
pub struct Long {
    /// What it is called.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&Bench, mark: &str, seed: u64) -> Result<()>,
}

/// All of them.
pub const ALL: [Long; 9] = [
    Long { name: "connections-at-once", run: |bench, mark, _| load::at_once(bench, mark, 1000) },
    Long {
        name: "connections-one-by-one",
        run: |bench, mark, _| load::one_by_one(bench, mark, 100_000),
    },
    Long { name: "slow-readers", run: |bench, mark, _| load::slow_readers(bench, mark, 200) },
    Long { name: "half-open", run: |bench, mark, _| load::half_open(bench, mark, 800) },
    Long { name: "wrk", run: |bench, mark, _| load::wrk(bench, mark, 60) },
    Long { name: "ab", run: |bench, mark, _| load::ab(bench, mark, 20_000) },
    Long { name: "syn-flood", run: |bench, mark, _| hostile::syn_flood(bench, mark, 100_000) },
    Long {
        name: "made-up-frames",
        run: |bench, mark, seed| hostile::made_up_frames(bench, mark, 1_000_000, seed),
    },
    Long { name: "bad-wire", run: |bench, mark, _| tap::bad_wire(bench, mark, 100 << 20) },
];
