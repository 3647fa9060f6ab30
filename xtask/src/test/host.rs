//! Tests that run on the host: cargo's own, and checks of the repository's texts.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::report::Report;
use crate::{lint, paths, process};

/// The one command that tests everything.
const COMMAND: &str = "cargo xtask test";

/// A test command for the host.
pub struct HostTest {
    /// Its name, a path.
    pub name: String,
    kind: Kind,
}

enum Kind {
    /// `cargo` with these arguments in this directory.
    Cargo(&'static str, &'static [&'static str]),
    /// A look at the repository's own files.
    Look(fn() -> Result<()>),
}

/// All of them.
pub fn all() -> Vec<HostTest> {
    [
        ("host/xtask", Kind::Cargo(".", &["test", "--package", "xtask"])),
        ("host/archive", Kind::Cargo(".", &["test", "--package", "skete-archive"])),
        ("host/kernel", Kind::Cargo(".", &["test", "--package", "skete-kernel"])),
        (
            "host/hypervisor",
            Kind::Cargo(
                ".",
                &["test", "--package", "skete", "--package", "skete-kvm-probe", "--lib"],
            ),
        ),
        (
            "host/loader",
            Kind::Cargo(".", &["test", "--package", "skete-loader", "--lib", "--tests"]),
        ),
        ("host/examples", Kind::Cargo("examples", &["test", "--workspace"])),
        ("host/programs", Kind::Cargo("tests/programs", &["test", "--workspace"])),
        ("host/fuzz", Kind::Cargo("fuzz", &["test", "--lib"])),
        ("host/test-command", Kind::Look(test_command)),
    ]
    .map(|(name, kind)| HostTest { name: name.to_owned(), kind })
    .into()
}

/// Runs one; its own tests count one by one.
pub fn run(test: &HostTest, report: &mut Report) {
    let start = Instant::now();
    match &test.kind {
        Kind::Look(look) => report.case(&test.name, look(), start.elapsed()),
        Kind::Cargo(directory, arguments) => {
            match cargo(directory, arguments) {
                Ok(tally) => {
                    report.count(tally.passed, tally.ignored);
                    if let Some(output) = tally.failure {
                        report.fail(&test.name, &output, start.elapsed());
                    }
                }
                Err(error) => report.fail(&test.name, &format!("{error:#}"), start.elapsed()),
            }
            report.step();
        }
    }
}

/// What `cargo test` has shown.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    ignored: usize,
    /// The command and its output, when it failed.
    failure: Option<String>,
}

fn cargo(directory: &str, arguments: &[&str]) -> Result<Tally> {
    let mut command = process::cargo();
    command.args(arguments).current_dir(paths::root().join(directory)).stdin(Stdio::null());
    let output = command.output().context("cannot start cargo")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut tally = count(&stdout);
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        tally.failure =
            Some(format!("(cd {directory} && {})\n{stdout}{stderr}", process::show(&command)));
    } else if tally.passed == 0 {
        bail!("`{}` ran no test", process::show(&command));
    }
    Ok(tally)
}

/// Adds up the lines `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        let number = |what: &str| {
            let before = line.split_once(what)?.0.trim_end();
            before.rsplit(' ').next()?.parse::<usize>().ok()
        };
        tally.passed += number("passed").unwrap_or(0);
        tally.ignored += number("ignored").unwrap_or(0);
    }
    tally
}

/// What a newcomer is told to type is what is run on every change.
fn test_command() -> Result<()> {
    lint::mentions("README.md", COMMAND)?;
    lint::mentions(".ci/run", COMMAND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_are_added_up() {
        let output = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 20 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(count(output), Tally { passed: 23, ignored: 1, failure: None });
        assert_eq!(count(""), Tally::default());
    }
}
