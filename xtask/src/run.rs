//! `cargo xtask run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;

use crate::devices::DeviceArgs;
use crate::image::{self, BuildOptions, ProfileArgs};
use crate::monitor::{self, Monitor};
use crate::net::NetArgs;
use crate::qemu::{Accel, Bytes, Machine, Vm};
use crate::root::{self, Root};
use crate::sdk;

/// Builds a program and boots it in QEMU
///
/// The program's output appears as it comes; its exit status is the command's. Ctrl-C ends the
/// virtual machine. The options can also be given to `cargo run` in a crate set up with
/// `cargo xtask init`, as the environment variables named below.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask run hello
  cargo xtask run sieve --memory 256M -- 1000000
  cargo xtask run json < data.json
  cargo xtask run ../my-app --machine q35 --timeout 10 -- --verbose
  cargo xtask run ../my-app --root ../my-files
  cargo xtask run httpd --publish 8080:8080   # then: curl http://127.0.0.1:8080/
  cargo xtask run ../my-app --disk my-disk.img --channel my.sock
  cargo xtask run hello --gdb
  cargo xtask run hello --monitor skete
  SKETE_MEMORY=1G cargo run          # in a crate set up with `cargo xtask init`")]
pub struct RunArgs {
    /// An example's name, the path to a crate, or a built image
    what: String,

    #[command(flatten)]
    profile: ProfileArgs,

    #[command(flatten)]
    vm: VmArgs,

    /// The program's arguments
    #[arg(last = true)]
    args: Vec<String>,
}

/// The virtual machine's options.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Virtual machine")]
pub struct VmArgs {
    /// How many processors the machine has
    #[arg(long, value_name = "N", default_value_t = 1, env = "SKETE_SMP",
          value_parser = clap::value_parser!(u32).range(1..=255))]
    smp: u32,

    /// How much memory the machine has, like 64M or 2G
    #[arg(long, value_name = "SIZE", default_value = "64M", env = "SKETE_MEMORY")]
    memory: Bytes,

    /// The kind of machine
    #[arg(long, value_enum, default_value = "microvm", env = "SKETE_MACHINE")]
    machine: Machine,

    /// What executes the instructions; `auto` takes KVM where a probe shows that it works
    #[arg(long, value_enum, default_value = "tcg", env = "SKETE_ACCEL")]
    accel: Accel,

    /// What imitates the machine; `skete` is this repository's monitor, which needs a KVM that works
    #[arg(long, value_enum, default_value = "qemu", env = "SKETE_MONITOR")]
    monitor: Monitor,

    /// Wait for a debugger on a port of localhost before the first instruction
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "1234", env = "SKETE_GDB")]
    gdb: Option<u16>,

    /// End the machine after this many seconds, with exit status 124
    #[arg(long, value_name = "SECONDS", env = "SKETE_TIMEOUT", value_parser = seconds)]
    timeout: Option<Duration>,

    /// Show the kernel's log on standard error
    #[arg(long, value_name = "LEVEL", env = "SKETE_LOG", value_parser = ["error", "warn", "info", "debug", "trace"])]
    log: Option<String>,

    /// Start with these files: a directory, or a tar archive (.tar, .tar.gz). They lie over those in the image
    #[arg(long, value_name = "DIR", env = "SKETE_ROOT")]
    root: Option<PathBuf>,

    /// Set a variable in the program's environment (SKETE_ENV: one a line)
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,

    /// One more argument for QEMU (SKETE_QEMU: separated by spaces)
    #[arg(
        long = "qemu",
        value_name = "ARGUMENT",
        env = "SKETE_QEMU",
        value_delimiter = ' ',
        allow_hyphen_values = true
    )]
    qemu: Vec<String>,

    #[command(flatten)]
    devices: DeviceArgs,

    #[command(flatten)]
    net: NetArgs,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 =
        text.trim_end_matches('s').parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "not a time".to_owned())
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not of the form KEY=VALUE".to_owned()),
    }
}

impl VmArgs {
    /// Fails when something that the options name cannot be used: known at once, before anything is
    /// built.
    pub fn check(&self) -> Result<()> {
        if self.monitor == Monitor::Skete {
            skete_kvm_probe::probe()?;
        }
        self.root.as_deref().map_or(Ok(()), root::check)?;
        self.devices.check()?;
        self.net.check()
    }

    /// Boots an image on this process's own streams; gives its exit status.
    pub fn boot(self, loader: PathBuf, image: PathBuf, args: Vec<String>) -> Result<ExitCode> {
        let mut env = self.variables;
        if let Ok(lines) = std::env::var("SKETE_ENV")
            && env.is_empty()
        {
            for line in lines.lines() {
                env.push(variable(line).map_err(|why| anyhow!("SKETE_ENV: `{line}` is {why}"))?);
            }
        }
        let network = self.net.open(self.machine, self.smp)?;
        let vm = Vm {
            loader,
            machine: self.machine,
            accel: self.accel,
            smp: self.smp,
            memory: self.memory,
            timeout: self.timeout,
            log: self.log,
            args,
            env,
            root: self.root.map(Root::Pack),
            options: None,
            devices: self.devices,
            cards: network.cards,
            network: network.options,
            terminals: String::new(),
            gdb: self.gdb,
            qemu_args: self.qemu.into_iter().map(Into::into).collect(),
            image,
        };
        if self.monitor == Monitor::Skete {
            return monitor::boot(&vm);
        }
        if let Some(port) = vm.gdb {
            eprintln!("skete: waiting for a debugger; in another terminal:");
            eprintln!(
                "  gdb {} -ex 'target remote localhost:{port}' -ex 'hbreak _start' -ex continue",
                vm.image.display()
            );
        }
        let status = vm.run()?;
        match u8::try_from(status) {
            Ok(status) => Ok(ExitCode::from(status)),
            Err(_) => bail!("the exit status {status} does not fit a process"),
        }
    }
}

/// Runs `cargo xtask run`.
pub fn run(args: RunArgs) -> Result<ExitCode> {
    image::check(&args.what)?;
    args.vm.check()?;
    let sdk = sdk::ensure()?;
    let options = BuildOptions { quiet: true, ..args.profile.options() };
    let image = image::build_with(&sdk, &args.what, &options)?;
    args.vm.boot(sdk.loader, image, args.args)
}
