//! `cargo xtask bench`: measures what SPECIFICATION.md promises.
//!
//! To add a row: write a function that gives a [`Measurement`], call it in [`measure`], and add a
//! line of the same name with its promise to the table in SPECIFICATION.md.

mod against;
mod instructions;
mod memory;
mod monitor;
mod operations;
mod profile;
mod size;
mod specification;
mod start;
mod wall;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::image::{self, BuildOptions};
use crate::progress::Step;
use crate::qemu::{Outcome, Vm};
use crate::sdk;
use specification::{Cells, Row, Specification, Table};

/// Measures instructions, bytes and memory against the promises in SPECIFICATION.md
///
/// Without an option, the measured numbers are written into SPECIFICATION.md.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask bench
  cargo xtask bench --check           # fails when a promise is broken, changes nothing
  cargo xtask bench --profile         # where hello's instructions go
  cargo xtask bench --monitor         # the monitor beside uhyve; writes docs/monitor.md
  cargo xtask bench --against linux   # beside a Linux guest; writes docs/benchmarks.md
  cargo xtask bench --net             # a server beside one on Linux; writes docs/benchmarks-network.md")]
pub struct BenchArgs {
    /// Fail when a promise is broken; leave SPECIFICATION.md as it is
    #[arg(long)]
    check: bool,

    /// Print the numbers as JSON
    #[arg(long)]
    json: bool,

    /// Show in which room of the image the instructions are executed, and measure nothing else
    #[arg(long, conflicts_with_all = ["check", "json"])]
    profile: bool,

    /// Measure the same programs on another system in the same machine, and write docs/benchmarks.md
    #[arg(long, value_name = "SYSTEM", value_enum, conflicts_with_all = ["check", "profile"])]
    against: Option<Other>,

    /// Measure the monitor beside uhyve, on a Linux that has KVM, and write docs/monitor.md
    #[arg(long, conflicts_with_all = ["check", "json", "profile", "against"])]
    monitor: bool,

    /// Measure the example httpd beside a Linux guest, asked by clients on this host, and write
    /// docs/benchmarks-network.md (needs root)
    #[arg(long, conflicts_with_all = ["check", "profile", "against", "monitor"])]
    net: bool,

    /// Take this Linux kernel (a bzImage) instead of the distribution's for virtual machines
    #[arg(long, value_name = "FILE")]
    linux_kernel: Option<PathBuf>,
}

/// A system to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Other {
    /// The distribution's kernel for virtual machines, with the program as its only process
    Linux,
}

/// The most that one run may take: a machine that does not end has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// A built program and a machine that boots it: what one measurement is about.
pub struct Subject {
    /// The program with its symbols.
    image: PathBuf,
    /// Boots the program without them, with default settings.
    vm: Vm,
}

impl Subject {
    fn build(what: &str) -> Result<Self> {
        Self::build_with(what, &[])
    }

    /// Builds with settings of cargo's, as `--config` takes them.
    fn build_with(what: &str, config: &[&str]) -> Result<Self> {
        let sdk = sdk::ensure()?;
        let options = BuildOptions {
            quiet: true,
            config: config.iter().map(ToString::to_string).collect(),
            ..BuildOptions::default()
        };
        let image = image::build_with(&sdk, what, &options)?;
        let stripped = image::strip(&image, image::Strip::Symbols)?;
        let vm = Vm { timeout: Some(LIMIT), ..Vm::new(&sdk, stripped) };
        Ok(Self { image, vm })
    }

    /// A machine that boots the program, with default settings.
    fn vm(&self) -> Vm {
        self.vm.clone()
    }

    /// What the program writes when all is well.
    fn expected_output(&self) -> Result<Vec<u8>> {
        let outcome = self.vm.capture(None)?;
        if outcome.status != Some(0) || outcome.stdout.is_empty() {
            bail!("the program does not run, so there is nothing to measure: {}", said(&outcome));
        }
        Ok(outcome.stdout)
    }
}

/// What a machine has said about its end, for an error, in one line.
fn said(outcome: &Outcome) -> String {
    if outcome.timed_out {
        return "it did not end in time".to_owned();
    }
    // Linux has one console.
    let console = String::from_utf8_lossy(&outcome.stdout);
    if let Some(line) = console.lines().find(|line| line.contains("Kernel panic")) {
        return line.trim().to_owned();
    }
    match String::from_utf8_lossy(&outcome.stderr).trim() {
        "" => format!("its status is {}", outcome.status.unwrap_or_default()),
        said => said.to_owned(),
    }
}

/// One measured number.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Its row in SPECIFICATION.md.
    pub name: &'static str,
    /// The number; less is better.
    pub value: f64,
    /// What it counts.
    pub unit: Unit,
}

/// What a number counts, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of a file.
    Bytes,
    /// Things that went wrong.
    Failures,
    /// Guest instructions.
    Instructions,
    /// Memory, in mebibytes.
    Mebibytes,
    /// Time, in microseconds.
    Microseconds,
    /// Hundredths of a host's processor.
    Percent,
    /// Processors of a machine.
    Processors,
    /// A multiple of something else.
    Times,
}

impl fmt::Display for Unit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Bytes => "bytes",
            Self::Failures => "failures",
            Self::Instructions => "instructions",
            Self::Mebibytes => "MiB",
            Self::Microseconds => "µs",
            Self::Percent => "%",
            Self::Processors => "processors",
            Self::Times => "×",
        })
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            // Counts are whole numbers far below 2^53.
            Unit::Bytes
            | Unit::Failures
            | Unit::Instructions
            | Unit::Processors
            | Unit::Microseconds => {
                out.write_str(&thousands(self.value as u64))?;
            }
            Unit::Mebibytes | Unit::Times | Unit::Percent => write!(out, "{:.2}", self.value)?,
        }
        match self.unit {
            Unit::Processors if self.value == 1.0 => out.write_str(" processor"),
            unit => write!(out, " {unit}"),
        }
    }
}

/// Writes a number with a comma at every third digit.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Every number that SPECIFICATION.md has a row for.
fn measure(step: &Step) -> Result<Vec<Measurement>> {
    step.at("building hello");
    // Both are built to the same place, so the first is measured before the second is built.
    let aborting = Subject::build_with("hello", &[r#"profile.release.panic="abort""#])?;
    let smallest = size::measure_aborting(&aborting)?;
    let hello = Subject::build("hello")?;
    let expected = hello.expected_output()?;
    let mut measurements = vec![smallest];
    measurements.extend(size::measure(&hello)?);
    step.at("counting instructions");
    let counter = instructions::Counter::build()?;
    measurements.extend(instructions::measure(&counter, &hello)?);
    let operations = Subject::build("operations")?;
    measurements.extend(operations::measure(&counter, &operations, &operations::PROMISED)?);
    step.at("looking for the least memory");
    measurements.extend(memory::measure(&hello, &expected)?);
    step.at("comparing with an empty image");
    measurements.push(wall::measure(&hello)?);
    Ok(measurements)
}

/// Runs `cargo xtask bench`.
pub fn run(args: BenchArgs) -> Result<()> {
    if args.monitor {
        return monitor::run();
    }
    if args.profile {
        return profile::show(&Subject::build("hello")?);
    }
    if args.net {
        return against::network::run(args.linux_kernel.as_deref(), args.json);
    }
    if args.against == Some(Other::Linux) {
        return against::run(args.linux_kernel.as_deref(), args.json);
    }
    let mut specification = Specification::read(Table::Promises)?;
    let step = Step::new("measuring");
    let measurements = measure(&step)?;
    step.done();
    let rows = measurements
        .iter()
        .map(|measurement| Ok((measurement, specification.row(measurement.name)?)))
        .collect::<Result<Vec<(&Measurement, Row)>>>()?;
    let broken: Vec<_> =
        rows.iter().filter(|(measured, row)| measured.value > row.promise).collect();
    if args.json {
        println!("{}", report(&rows)?);
    } else {
        show(&rows);
    }
    if args.check {
        if let Some((measured, row)) = broken.first() {
            bail!(
                "{} of {} promises broken; the first: {} is {measured}, promised are {}",
                broken.len(),
                rows.len(),
                measured.name,
                row.promise_text
            );
        }
        return Ok(());
    }
    let cells = measurements.iter().map(|measured| Cells {
        name: measured.name,
        measured: measured.to_string(),
        beside: None,
    });
    specification.write(&cells.collect::<Vec<_>>())
}

fn show(rows: &[(&Measurement, Row)]) {
    let width = rows.iter().map(|(measured, _)| measured.name.chars().count()).max().unwrap_or(0);
    println!("{:width$}  {:>20}  {:>20}  {:>20}", "", "promised", "measured", "nearest relative");
    for (measured, row) in rows {
        let mark = if measured.value > row.promise { "  broken" } else { "" };
        let (name, promise, relative) = (measured.name, &row.promise_text, &row.relative);
        println!(
            "{name:width$}  {promise:>20}  {:>20}  {relative:>20}{mark}",
            measured.to_string()
        );
    }
}

fn report(rows: &[(&Measurement, Row)]) -> Result<String> {
    let rows: Vec<_> = rows
        .iter()
        .map(|(measured, row)| {
            json!({
                "name": measured.name,
                "value": measured.value,
                "unit": measured.unit.to_string(),
                "promise": row.promise,
                "kept": measured.value <= row.promise,
                "relative": row.relative,
            })
        })
        .collect();
    serde_json::to_string_pretty(&rows).context("cannot write JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_says_why_in_one_line() {
        let outcome = |stdout: &str, stderr: &str, timed_out| Outcome {
            status: Some(3),
            stdout: stdout.into(),
            stderr: stderr.into(),
            wall: Duration::ZERO,
            timed_out,
        };
        let panic = "a\r\n[    2.7] Kernel panic - not syncing: no memory\r\nb\r\n";
        let why = "[    2.7] Kernel panic - not syncing: no memory";
        assert_eq!(said(&outcome(panic, "no status\n", false)), why);
        assert_eq!(said(&outcome("a", "a fault\n", false)), "a fault");
        assert_eq!(said(&outcome("a", "", false)), "its status is 3");
        assert_eq!(said(&outcome(panic, "", true)), "it did not end in time");
    }

    #[test]
    fn numbers_are_written_for_people() {
        let written = |value, unit| Measurement { name: "", value, unit }.to_string();
        assert_eq!(written(7.0, Unit::Bytes), "7 bytes");
        assert_eq!(written(534_688.0, Unit::Bytes), "534,688 bytes");
        assert_eq!(written(1_000.0, Unit::Instructions), "1,000 instructions");
        assert_eq!(written(2.0625, Unit::Mebibytes), "2.06 MiB");
        assert_eq!(written(1.5, Unit::Times), "1.50 ×");
        assert_eq!(written(0.1, Unit::Percent), "0.10 %");
        assert_eq!(written(1.0, Unit::Processors), "1 processor");
        assert_eq!(written(2.0, Unit::Processors), "2 processors");
        assert_eq!(written(1_234.5, Unit::Microseconds), "1,234 µs");
    }
}
