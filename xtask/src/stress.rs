//! `cargo xtask stress`: the program `tests/programs/stress`, with one seed after the other.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::image::{self, BuildOptions};
use crate::qemu::{Bytes, Machine, Vm};
use crate::{paths, sdk, test};

/// Puts threads, locks, time, registers and memory of a machine under load until something breaks or the time is over
///
/// The machine is booted again and again, each time with the next number of processors and the next
/// seed. The first failure ends this, with a command that does the same again. The seed decides what the
/// threads do, not how they are interleaved: a rare failure may take several runs to come back.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask stress                            # two minutes on 1, 2 and 4 processors
  cargo xtask stress --smp 4 --seconds 600
  cargo xtask stress --smp 2 --seed 17 park     # one case
  cargo xtask stress --memory 1G many           # 10,000 threads at once
  cargo xtask stress list                       # the cases
  cargo xtask stress --net                      # floods, loads and bad wires: half an hour (needs root)
  cargo xtask stress --net made-up-frames")]
pub struct StressArgs {
    /// A case, `all` of those that need no more than the usual machine, or `list`
    #[arg(default_value = "all")]
    case: String,

    /// How many processors the machine has; several may be given, and take turns
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 2, 4],
          value_parser = clap::value_parser!(u32).range(1..=255))]
    smp: Vec<u32>,

    /// How long to go on; what has begun is brought to its end
    #[arg(long, value_name = "S", default_value_t = 120)]
    seconds: u64,

    /// How long each case may take in one boot
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = share)]
    share: f64,

    /// Put networks under load instead: 100,000 connections, floods, made-up frames, bad wires
    #[arg(long, conflicts_with_all = ["smp", "seconds", "share", "memory", "machine"])]
    net: bool,

    /// The first seed; when absent, one of the clock's
    #[arg(long)]
    seed: Option<u64>,

    /// How much memory the machine has, like 64M or 2G
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    memory: Bytes,

    /// The kind of machine
    #[arg(long, value_enum, default_value = "microvm")]
    machine: Machine,
}

/// How long a boot may take beside its cases' shares, most of it for a busy host. The program's own
/// watchdog sees a case that stands still, but not a machine that does.
const REST: Duration = Duration::from_secs(180);
/// More cases than there are, so that each may take longer than its share.
const CASES: u32 = 60;

/// Not a case: names them.
const LIST: &str = "list";
/// The program's exit status for a case that there is not.
const USAGE: i32 = 2;

fn share(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if (0.0..=3_600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("not between nothing and an hour".to_owned())
    }
}

/// Runs `cargo xtask stress`.
pub fn run(args: StressArgs) -> Result<()> {
    if args.net {
        return test::stress_network(&args.case, args.seed.unwrap_or_else(any_seed));
    }
    let sdk = sdk::ensure()?;
    let program = paths::root().join("tests/programs/stress");
    let program = program.to_str().context("the path of the repository is not UTF-8")?;
    let options = BuildOptions { quiet: true, ..BuildOptions::default() };
    let image = image::build_with(&sdk, program, &options)?;
    let start = Instant::now();
    let first = args.seed.unwrap_or_else(any_seed);
    for (boot, &smp) in (0..).zip(args.smp.iter().cycle()) {
        if boot > 0 && start.elapsed() >= Duration::from_secs(args.seconds) {
            println!("stress: {boot} boots, 0 failed");
            return Ok(());
        }
        let seed = first.wrapping_add(boot);
        if args.case != LIST {
            println!("stress: boot {boot}, --smp {smp} --seed {seed}");
        }
        let vm = args.vm(Vm::new(&sdk, Path::new(&image)), smp, seed);
        let status = vm.run()?;
        if args.case == LIST && status == 0 {
            return Ok(());
        }
        if status == USAGE {
            bail!("the program takes no case `{}`", args.case);
        }
        if status != args.expected_status() {
            bail!(
                "the machine ended with status {status}; once more: cargo xtask stress --smp {smp} --seed {seed} \
                 --share {} --memory {}K --machine {} {}",
                args.share,
                args.memory.0 >> 10,
                format!("{:?}", args.machine).to_lowercase(),
                args.case
            );
        }
    }
    unreachable!("the processors take turns without end")
}

impl StressArgs {
    /// The case `exit` ends with a status of its own, to show that it is handed on.
    fn expected_status(&self) -> i32 {
        if self.case == "exit" { 42 } else { 0 }
    }

    fn vm(&self, vm: Vm, smp: u32, seed: u64) -> Vm {
        Vm {
            smp,
            machine: self.machine,
            memory: self.memory,
            timeout: Some(REST + CASES * Duration::from_secs_f64(self.share)),
            args: vec![self.case.clone(), seed.to_string(), self.share.to_string()],
            ..vm
        }
    }
}

/// A seed that was hardly used before.
fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |now| now.as_millis() as u64)
}
