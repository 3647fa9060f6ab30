//! The programs that measure, and the Linux guest that they are measured beside.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::case::{Bench, Case, Guest};
use super::super::expect::Expect;
use super::guest;
use crate::linux::{Linux, Program};
use crate::qemu::{Outcome, Vm};

/// How long one boot of Linux may take. Generous: the host may be busy.
const LIMIT: Duration = Duration::from_secs(120);

pub fn all() -> Vec<Case> {
    vec![
        guest(
            "guest/scaling",
            Guest::new("scaling").args(&["processors", "sleep"]),
            Expect::status(0).out("processors ").out("sleep-median ").stderr(""),
        ),
        guest(
            "guest/scaling-wrong",
            Guest::new("scaling").args(&["sideways"]),
            Expect::status(2).stdout("").err("usage: scaling"),
        ),
        guest(
            "guest/operations",
            Guest::new("operations").args(&["now", "100"]),
            Expect::status(0).stdout("").stderr(""),
        ),
        Case::steps("linux/hello", hello),
        Case::steps("linux/status", status),
        Case::steps("linux/no-status", no_status),
    ]
}

/// Boots a program on Linux.
fn boot(bench: &Bench, mark: &str, program: &str, args: &[&str]) -> Result<Outcome> {
    let linux = Linux::ensure(None)?;
    let program = Program::build(&bench.sdk, program)?;
    let vm = Vm {
        args: args.iter().map(|&word| word.to_owned()).collect(),
        timeout: Some(LIMIT),
        qemu_args: ["-name", mark].map(Into::into).into(),
        ..linux.vm(&bench.sdk, &program)?
    };
    let outcome = vm.capture(None)?;
    ensure!(!outcome.timed_out, "Linux did not end within {LIMIT:?}");
    Ok(outcome)
}

/// The program's output is all there is, and arrives as a whole.
fn hello(bench: &Bench, mark: &str) -> Result<()> {
    let outcome = boot(bench, mark, "hello", &[])?;
    let said = String::from_utf8_lossy(&outcome.stdout);
    ensure!(said == "Hello, world!\r\n", "Linux says {said:?}");
    ensure!(outcome.status == Some(0), "the status is {:?}", outcome.status);
    Ok(())
}

/// Arguments reach the program, and its status the runner.
fn status(bench: &Bench, mark: &str) -> Result<()> {
    let outcome = boot(bench, mark, "fault", &["exit", "300"])?;
    ensure!(outcome.status == Some(300), "the status is {:?}", outcome.status);
    Ok(())
}

/// A program that is killed does not end well.
fn no_status(bench: &Bench, mark: &str) -> Result<()> {
    let outcome = boot(bench, mark, "fault", &["abort"])?;
    ensure!(outcome.status.is_none(), "the status is {:?}", outcome.status);
    let said = String::from_utf8_lossy(&outcome.stdout);
    ensure!(said.contains("Attempted to kill init"), "Linux says {said:?}");
    Ok(())
}
