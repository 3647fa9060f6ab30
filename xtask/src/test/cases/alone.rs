//! Measurements, and what uses all processors itself: run while no other case does.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::super::case::{Bench, Case, Doing, Guest};
use super::super::expect::Expect;
use super::super::leftovers;
use super::tools::Tool;
use crate::process;

/// How long the short selection of conformance suites may take, with its compilation.
const SUITES: Duration = Duration::from_secs(900);

pub fn all() -> Vec<Case> {
    vec![
        Case::steps("alone/idle", idle),
        Case {
            name: "alone/promises".to_owned(),
            doing: Doing::Tool(Tool::xtask(&["bench", "--check"]), Expect::status(0)),
        },
        Case {
            name: "alone/conformance".to_owned(),
            doing: Doing::Tool(
                Tool::xtask(&["conformance", "--short"]).timeout(SUITES),
                Expect::status(0),
            ),
        },
    ]
}

/// A machine whose program sleeps leaves the host's processor alone.
fn idle(bench: &Bench, mark: &str) -> Result<()> {
    let guest = Guest::new("fault").args(&["sleep", "5"]);
    thread::scope(|scope| {
        let run = scope.spawn(|| guest.run(bench, mark));
        let start = Instant::now();
        let pid = loop {
            if let [pid] = leftovers::marked(mark)[..] {
                break pid;
            }
            ensure!(start.elapsed() < Duration::from_secs(5), "QEMU has not started");
            thread::sleep(Duration::from_millis(10));
        };
        // Past the boot.
        thread::sleep(Duration::from_millis(1500));
        let before = process::processor_time(pid)?;
        thread::sleep(Duration::from_secs(2));
        let used = process::processor_time(pid)? - before;
        let got = run.join().map_err(|_| anyhow::anyhow!("the run panicked"))??;
        Expect::status(0).stdout("slept\n").stderr("").judge(&got)?;
        ensure!(
            used <= Duration::from_millis(200),
            "QEMU used {used:?} of processor time in 2 s in which its program slept"
        );
        Ok(())
    })
}
