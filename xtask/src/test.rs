//! `cargo xtask test`: everything that can be checked, in one command.
//!
//! Three stages: formatting and lints; tests on the host; programs booted in QEMU, tools and broken
//! images. Each is a list of [`Case`]s; the last one's cases run beside each other.

mod case;
mod cases;
mod expect;
mod host;
mod leftovers;
mod pool;
mod report;

use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::case::{Bench, Case, Own};
pub use self::cases::monitor::HUNDRED;
use self::report::Report;
use crate::net::namespace::Namespace;
use crate::qemu::Machine;
use crate::{lint, packages, sdk};

/// Options of `cargo xtask test`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask test                            # everything
  cargo xtask test fault                      # what has `fault` in its name
  cargo xtask test monitor                    # the monitor, also on a newer Linux and beside QEMU with KVM
  cargo xtask test guest/hello --machine pc
  cargo xtask test --host                     # nothing that needs QEMU
  cargo xtask test --list")]
pub struct TestArgs {
    /// Run only what has this in its name
    #[arg(default_value = "", hide_default_value = true)]
    filter: String,

    /// Print the names and run nothing
    #[arg(long)]
    list: bool,

    /// Only formatting, lints and host tests
    #[arg(long)]
    host: bool,

    /// Only what boots virtual machines
    #[arg(long, conflicts_with = "host")]
    guest: bool,

    /// Boot only on this kind of machine
    #[arg(long, value_enum)]
    machine: Option<Machine>,

    /// How many cases run beside each other; when absent, one for each processor
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
}

impl TestArgs {
    fn wants(&self, name: &str, machine: Option<Machine>) -> bool {
        name.contains(&self.filter)
            && (machine.is_none() || self.machine.is_none_or(|wanted| machine == Some(wanted)))
    }
}

/// What is tested only when a part of its name is asked for: more of the same, that takes minutes.
const ON_REQUEST: [&str; 5] = [
    "ecosystem/bench",
    "monitor/backports",
    "monitor/backports-vsock",
    "monitor/clock",
    "monitor/clock-in-qemu",
];

impl TestArgs {
    /// True for a case that needs no asking, or when something was asked for.
    fn names(&self, case: &str) -> bool {
        !self.filter.is_empty() || !ON_REQUEST.contains(&case)
    }
}

/// Runs `cargo xtask test`.
pub fn run(args: TestArgs) -> Result<()> {
    let lints = lint::checks()
        .into_iter()
        .map(|check| (format!("lint/{}", check.name.replace(' ', "-")), check));
    let lints = lints.filter(|(name, _)| !args.guest && args.wants(name, None)).collect::<Vec<_>>();
    let hosts = host::all()
        .into_iter()
        .filter(|test| !args.guest && args.wants(&test.name, None))
        .collect::<Vec<_>>();
    let guests = cases::all().into_iter();
    let guests = guests
        .filter(|case| !args.host && args.wants(&case.name, case.machine()))
        .filter(|case| args.list || args.names(&case.name))
        .collect::<Vec<_>>();
    let names = lints.iter().map(|(name, _)| name).chain(hosts.iter().map(|test| &test.name));
    let names = names.chain(guests.iter().map(|case| &case.name)).collect::<Vec<_>>();
    if args.list {
        names.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    if names.is_empty() {
        bail!(
            "no test has `{}` in its name; `cargo xtask test --list` prints all names",
            args.filter
        );
    }

    let own = Own::new()?;
    let mut report = Report::new(names.len());
    for (name, check) in lints {
        report.begin(&name);
        report.lint(&name, &check);
    }
    for test in hosts {
        report.begin(&test.name);
        host::run(&test, &mut report);
    }
    if !guests.is_empty() {
        guest_stage(guests, &args, own, &mut report)?;
    }
    report.finish()
}

/// Leaves out what cannot be run here, and says why.
fn possible(cases: Vec<Case>, report: &mut Report) -> Vec<Case> {
    let Some(obstacle) = Namespace::obstacle() else {
        return cases;
    };
    let (skipped, possible) = cases.into_iter().partition::<Vec<_>, _>(Case::needs_namespace);
    for case in skipped {
        report.skip(&case.name, obstacle);
        report.step();
    }
    possible
}

/// Runs the long tests of networks, or the one of this name.
pub fn stress_network(name: &str, seed: u64) -> Result<()> {
    let long = cases::net::stress::ALL;
    let known = long.each_ref().map(|one| one.name);
    if name == "list" {
        known.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    let chosen: Vec<_> = long.into_iter().filter(|one| name == "all" || one.name == name).collect();
    if chosen.is_empty() {
        bail!("there is no case `{name}` for networks; there are: {}", known.join(", "));
    }
    if let Some(obstacle) = Namespace::obstacle() {
        bail!("`cargo xtask stress --net` {obstacle}");
    }
    packages::ensure_network(false)?;
    let bench = Bench::new(sdk::ensure()?, Own::new()?)?;
    let mark = format!("skete-stress-{}", std::process::id());
    for one in &chosen {
        println!("stress: {}, seed {seed}", one.name);
        let start = Instant::now();
        (one.run)(&bench, &mark, seed).with_context(|| {
            format!("once more: cargo xtask stress --net --seed {seed} {}", one.name)
        })?;
        println!("stress: {} took {:.0} s", one.name, start.elapsed().as_secs_f64());
    }
    println!("stress: {} cases, 0 failed", chosen.len());
    Ok(())
}

/// Builds what the cases boot, then runs them.
fn guest_stage(guests: Vec<Case>, args: &TestArgs, own: Own, report: &mut Report) -> Result<()> {
    let guests = possible(guests, report);
    if guests.iter().any(Case::needs_clients) {
        packages::ensure_network(false)?;
    }
    report.begin("building the programs");
    let bench = Bench::new(sdk::ensure()?, own)?;
    let jobs = match args.jobs {
        Some(jobs) => usize::from(jobs),
        None => thread::available_parallelism().map_or(1, usize::from),
    };
    let (alone, together) = guests.into_iter().partition(Case::alone);
    pool::run(&bench, together, jobs, report)?;
    pool::run(&bench, alone, 1, report)
}
