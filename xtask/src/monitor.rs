//! The monitor: built, and run in a Linux that has KVM (`cargo xtask kvm`).

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::devices::DeviceArgs;
use crate::image::{self, BuildOptions};
use crate::linux::nested::{Check, Nested, Release};
use crate::net::card::{Backend, Card};
use crate::qemu::{Machine, Vm};
use crate::{paths, process, sdk};

/// The target that the monitor is built for.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the monitor as one static file, stripped: it runs on any Linux.
pub fn build() -> Result<PathBuf> {
    build_with("monitor", "-Ctarget-feature=+crt-static", true, &["--bin", "skete"])
}

/// Builds a program that talks to guests from outside, for the monitor's tests.
pub fn build_connect() -> Result<PathBuf> {
    let built =
        build_with("monitor", "-Ctarget-feature=+crt-static", true, &["--example", "connect"])?;
    Ok(built.with_file_name("examples/connect"))
}

/// The same with its symbols.
pub fn build_with_symbols() -> Result<PathBuf> {
    build_with("monitor-symbols", "-Ctarget-feature=+crt-static", false, &["--bin", "skete"])
}

/// Builds it for this host's C library.
pub fn build_shared() -> Result<PathBuf> {
    build_with("monitor-shared", "-Ctarget-feature=-crt-static", true, &["--bin", "skete"])
}

fn build_with(directory: &str, flag: &str, strip: bool, what: &[&str]) -> Result<PathBuf> {
    let target = paths::generated().join("build").join(directory);
    let mut cargo = process::cargo();
    cargo
        .args(["build", "--quiet", "--release"])
        .args(["--package", "skete", "--target", TARGET])
        .args(what)
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", flag)
        .env("CARGO_PROFILE_RELEASE_STRIP", strip.to_string())
        .current_dir(paths::root());
    process::run(&mut cargo).context("the monitor does not build")?;
    Ok(target.join(TARGET).join("release/skete"))
}

/// What imitates a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Monitor {
    /// QEMU: every kind of machine, with or without KVM
    #[default]
    Qemu,
    /// `skete`: small and fast, on KVM
    Skete,
}

/// Runs a machine in the monitor, which takes this process's place.
pub fn boot(vm: &Vm) -> Result<ExitCode> {
    let words = words(vm)?;
    let error = Command::new(build()?).args(words).exec();
    Err(error).context("cannot start the monitor")
}

/// The monitor's command line for a machine.
fn words(vm: &Vm) -> Result<Vec<OsString>> {
    for (given, option) in [
        (vm.machine != Machine::Microvm, "--machine"),
        (vm.timeout.is_some(), "--timeout"),
        (vm.root.is_some(), "--root"),
        (!vm.qemu_args.is_empty(), "--qemu"),
        (vm.cards.iter().any(|card| card.pcap.is_some()), "--pcap"),
    ] {
        if given {
            bail!("{option} is for QEMU; `skete run --help` shows what the monitor takes");
        }
    }
    let mut words = Vec::<OsString>::new();
    words.extend(["run".into(), "--memory".into()]);
    words.push(format!("{}K", vm.memory.0.div_ceil(1024)).into());
    words.extend(["--cpus".into(), vm.smp.to_string().into()]);
    for (key, value) in &vm.env {
        words.extend(["--env".into(), format!("{key}={value}").into()]);
    }
    if let Some(level) = &vm.log {
        words.extend(["--log".into(), level.into()]);
    }
    if let Some(port) = vm.gdb {
        words.extend(["--gdb".into(), port.to_string().into()]);
    }
    for card in &vm.cards {
        words.extend(network(card)?.into_iter().map(Into::into));
    }
    words.extend(devices(&vm.devices));
    for option in &vm.network {
        words.extend(["--kernel".into(), option.into()]);
    }
    words.extend([vm.image.clone().into(), "--".into()]);
    words.extend(vm.args.iter().map(Into::into));
    Ok(words)
}

/// The monitor's options for devices, which are ours.
fn devices(devices: &DeviceArgs) -> Vec<OsString> {
    let mut words = Vec::new();
    for disk in &devices.disks {
        words.extend(["--disk".into(), disk.to_string().into()]);
    }
    words.extend(devices.rng.then(|| "--rng".into()));
    for path in &devices.channels {
        words.extend(["--channel".into(), path.into()]);
    }
    if let Some(cid) = devices.vsock {
        words.extend(["--vsock".into(), cid.to_string().into()]);
    }
    words
}

/// The monitor's options for a network card.
fn network(card: &Card) -> Result<Vec<String>> {
    /// `IFF_PERSIST`.
    const STAYS: u32 = 0x0800;
    let net = |kind: String| vec!["--net".to_owned(), kind];
    match &card.backend {
        Backend::User { publish, .. } => {
            let ports = publish.iter();
            let ports = ports.flat_map(|one| ["--publish".to_owned(), one.to_string()]);
            Ok(net("user".to_owned()).into_iter().chain(ports).collect())
        }
        Backend::Tap(tap) => {
            let flags = format!("/sys/class/net/{}/tun_flags", tap.name());
            let flags = fs::read_to_string(flags).unwrap_or_default();
            let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16);
            if flags.is_ok_and(|flags| flags & STAYS == 0) {
                bail!(
                    "the monitor takes a TAP device that is there: --net tap=NAME (ip tuntap add NAME mode tap)"
                );
            }
            Ok(net(format!("tap={}", tap.name())))
        }
        Backend::Datagram { .. } => bail!("the monitor knows no such network card"),
    }
}

/// Runs a shell command in a Linux that has KVM
///
/// QEMU imitates a processor with virtualization, Debian's kernel runs on it, and the monitor on that. The
/// monitor is `skete` there, an image by its program's name.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask kvm 'skete run hello'
  cargo xtask kvm --image tour --kernel backports 'skete run --cpus 2 --stats tour'")]
pub struct KvmArgs {
    /// The shell's command line
    command: String,

    /// An example's name, the path to a crate, or a built image
    #[arg(long = "image", value_name = "WHAT", default_value = "hello")]
    images: Vec<String>,

    /// A file that the command finds in /job
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Which of the distribution's kernels
    #[arg(long, value_enum, default_value = "stable")]
    kernel: Kernel,

    /// End the command after this many seconds
    #[arg(long, default_value = "60")]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kernel {
    /// The release's own
    Stable,
    /// The newest of its backports
    Backports,
}

/// Runs `cargo xtask kvm`.
pub fn run(args: KvmArgs) -> Result<ExitCode> {
    let sdk = sdk::ensure()?;
    let options = BuildOptions { quiet: true, ..BuildOptions::default() };
    let mut files = vec![("skete".to_owned(), read(&build()?)?)];
    for what in &args.images {
        let image = image::build_with(&sdk, what, &options)?;
        let name = image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, read(&image)?));
    }
    for path in &args.files {
        let name = path.file_name().context("a file without a name")?;
        files.push((name.to_string_lossy().into_owned(), read(path)?));
    }
    let release = match args.kernel {
        Kernel::Stable => Release::Stable,
        Kernel::Backports => Release::Backports,
    };
    let mut check = Check::new("command", with_path(&args.command));
    check.timeout = Duration::from_secs(args.timeout);
    let files =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>();
    let done = Nested::ensure(release)?.run(&files, &[check], "skete-kvm")?;
    let done = done.into_iter().next().context("nothing came back")?;
    std::io::Write::write_all(&mut std::io::stdout(), &done.stdout)?;
    std::io::Write::write_all(&mut std::io::stderr(), &done.stderr)?;
    match done.status.and_then(|status| u8::try_from(status).ok()) {
        Some(status) => Ok(ExitCode::from(status)),
        None => bail!("the command has no exit status"),
    }
}

/// A command that finds the job's files.
pub fn with_path(command: &str) -> String {
    format!("export PATH=/job:$PATH; cd /job\n{command}\n")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::tests::vm;

    #[test]
    fn a_machine_is_told_to_the_monitor_in_its_own_words() -> Result<()> {
        let publish = vec!["5353:53/udp".parse().map_err(anyhow::Error::msg)?];
        let card = Card::new(0, Backend::User { publish, guest: None });
        let vm =
            Vm { machine: Machine::Microvm, smp: 2, cards: vec![card], gdb: Some(1234), ..vm() };
        let expected = "run|--memory|65536K|--cpus|2|--env|A=1 2|--log|debug|--gdb|1234\
            |--net|user|--publish|127.0.0.1:5353:53/udp|--kernel|ip=10.0.0.2/24\
            |dir/app.elf|--|two words|x";
        assert_eq!(words(&vm)?.join("|".as_ref()).to_str(), Some(expected));
        for (vm, option) in [
            (Vm { machine: Machine::Q35, ..vm.clone() }, "--machine"),
            (Vm { timeout: Some(Duration::from_secs(1)), ..vm }, "--timeout"),
        ] {
            let error = words(&vm).err().context(option)?;
            assert!(error.to_string().starts_with(option), "{error}");
        }
        Ok(())
    }

    #[test]
    fn the_monitor_gets_network_cards_in_its_own_words() -> Result<()> {
        let publish = ["8080:80", "0.0.0.0:5353:53/udp"].map(str::parse);
        let publish = publish.into_iter().collect::<Result<Vec<_>, String>>();
        let backend = Backend::User { publish: publish.map_err(anyhow::Error::msg)?, guest: None };
        let words = network(&Card::new(0, backend))?;
        let expected = "--net user --publish 127.0.0.1:8080:80 --publish 0.0.0.0:5353:53/udp";
        assert_eq!(words.join(" "), expected);
        let wire = Backend::Datagram { own: "a".into(), peer: "b".into() };
        assert!(network(&Card::new(0, wire)).is_err());
        Ok(())
    }
}
