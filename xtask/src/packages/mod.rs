//! The programs of others that Skete needs: found, or named and installed.
//!
//! [`plan`](plan::plan) decides from facts alone what to install; [`apt`] gathers the facts and
//! carries the plan out, with a package index of its own below `target/`.

mod apt;
mod plan;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::plan::{Action, Facts, Need, Privilege};
use crate::process::{self, which};
use crate::qemu::QEMU;
use crate::toolchain::{self, Toolchain};

/// Downloads, into `directory`, the package whose name starts with `prefix` and that the first known
/// one of `names` depends on; gives its file. Nothing is installed.
pub fn download(names: &[&str], prefix: &str, directory: &Path) -> Result<PathBuf> {
    Downloads::open()?.index.download(names, prefix, None, directory)
}

/// The distribution's packages, for looking into them: nothing is installed.
pub struct Downloads {
    index: apt::Index,
    system: apt::System,
}

impl Downloads {
    /// Fetches the lists of packages.
    pub fn open() -> Result<Downloads> {
        for program in ["apt-get", "dpkg-deb"] {
            if which(program).is_none() {
                bail!("this system has no {program}");
            }
        }
        let system = apt::System::read()?;
        let index = apt::Index::open(&system)?;
        Ok(Downloads { index, system })
    }

    /// Downloads a package into `directory`, which holds no other; gives its file.
    pub fn package(&self, name: &str, directory: &Path) -> Result<PathBuf> {
        self.index.fetch(name, directory)
    }

    /// As [`download`]; with `backports` the newest that the release's backports have.
    pub fn dependency(
        &self,
        names: &[&str],
        prefix: &str,
        backports: bool,
        directory: &Path,
    ) -> Result<PathBuf> {
        let suite = plan::backports_suite(&self.system.codename);
        let suite = backports.then_some(suite.as_str());
        self.index.download(names, prefix, suite, directory)
    }
}

/// Programs that tests and measurements of networks use, and their packages.
pub const NETWORK: [(&str, &str); 10] = [
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("wrk", "wrk"),
    ("ab", "apache2-utils"),
    ("ping", "iputils-ping"),
    ("dnsmasq", "dnsmasq-base"),
    ("dig", "bind9-dnsutils"),
    ("openssl", "openssl"),
    ("iperf3", "iperf3"),
    ("passt", "passt"),
];

/// Installs those programs of [`NETWORK`] that are missing, or says how to.
pub fn ensure_network(yes: bool) -> Result<()> {
    let missing = || NETWORK.into_iter().filter(|(program, _)| which(program).is_none());
    let needs: Vec<_> =
        missing().map(|(program, package)| Need::Program { program, package }).collect();
    if needs.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing().map(|(program, _)| program).collect();
    let names = names.join(", ");
    if which("apt-get").is_none() {
        bail!("missing: {names}; install them (this system has no apt-get, so Skete cannot)");
    }
    eprintln!("skete: missing: {names}");
    install(&needs, yes)?;
    match missing().next() {
        Some((program, package)) => {
            bail!("the package {package} is installed, but the program {program} is still missing")
        }
        None => Ok(()),
    }
}

/// The programs that everything else uses.
pub struct Tools {
    /// Compiler and library source.
    pub toolchain: Toolchain,
    /// LLVM's linker.
    pub linker: PathBuf,
}

/// Finds the programs, after installing what is missing. Where that is not allowed the error holds
/// the commands to type.
pub fn ensure(yes: bool) -> Result<Tools> {
    let search = toolchain::search();
    if let Some(rustc) = toolchain::chosen().filter(|_| search.found.is_none()) {
        bail!("SKETE_RUSTC={} cannot be used: {}", rustc.display(), search.explain());
    }
    let needs = needs(search.found.as_ref());
    if needs.is_empty() {
        return found(search);
    }
    if needs.contains(&Need::Compiler) {
        eprintln!("skete: {}", search.explain());
    }
    let names = needs.iter().map(|need| need.describe()).collect::<Vec<_>>().join(", ");
    if which("apt-get").is_none() {
        bail!("missing: {names}; install them (this system has no apt-get, so Skete cannot)");
    }
    eprintln!("skete: missing: {names}");
    install(&needs, yes)?;

    let search = toolchain::search();
    let still = crate::packages::needs(search.found.as_ref());
    if !still.is_empty() {
        let names = still.iter().map(|need| need.describe()).collect::<Vec<_>>().join(", ");
        bail!("the packages are installed, but still missing: {names}");
    }
    found(search)
}

fn found(search: toolchain::Search) -> Result<Tools> {
    let Some(toolchain) = search.found else { bail!(search.explain()) };
    let linker = linker(&toolchain).context("LLVM's linker is missing")?;
    Ok(Tools { toolchain, linker })
}

fn needs(toolchain: Option<&Toolchain>) -> Vec<Need> {
    let mut needs = Vec::new();
    if toolchain.is_none() {
        needs.push(Need::Compiler);
    }
    if toolchain.is_none_or(|toolchain| linker(toolchain).is_none()) && any_linker().is_none() {
        needs.push(Need::Linker);
    }
    if which("objcopy").is_none() {
        needs.push(Need::Objcopy);
    }
    if which(QEMU).is_none() {
        needs.push(Need::Qemu);
    }
    needs
}

/// LLVM's linker: the compiler's own, another Rust toolchain's, the system's.
fn linker(toolchain: &Toolchain) -> Option<PathBuf> {
    let own = toolchain.sysroot.join("lib/rustlib").join(&toolchain.host).join("bin/rust-lld");
    if own.is_file() { Some(own) } else { any_linker() }
}

fn any_linker() -> Option<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".rustup")));
    let mut rustup: Vec<PathBuf> = home
        .and_then(|home| std::fs::read_dir(home.join("toolchains")).ok())
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|entry| {
            std::fs::read_dir(entry.path().join("lib/rustlib")).into_iter().flatten().flatten()
        })
        .map(|entry| entry.path().join("bin/rust-lld"))
        .filter(|path| path.is_file())
        .collect();
    rustup.sort();
    if let Some(linker) = rustup.into_iter().next() {
        return Some(linker);
    }
    let versioned = (15..64).rev().map(|version| format!("ld.lld-{version}"));
    ["rust-lld".to_owned()]
        .into_iter()
        .chain(versioned)
        .chain(["ld.lld".to_owned()])
        .find_map(which)
}

fn install(needs: &[Need], yes: bool) -> Result<()> {
    let system = apt::System::read()?;
    let index = apt::Index::open(&system)?;
    let facts = Facts {
        needs: needs.to_vec(),
        codename: system.codename.clone(),
        installed: apt::installed()?,
        available: index.available()?,
        privilege: privilege(),
        terminal: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        yes,
    };
    let plan = plan::plan(&facts).map_err(anyhow::Error::msg)?;
    let commands = index.commands(&plan);
    let typed = commands
        .iter()
        .map(|command| format!("  sudo {}", process::show(command)))
        .collect::<Vec<_>>();
    match plan.action {
        Action::Install => {}
        Action::Ask if asked(&plan.packages())? => {}
        Action::Ask => bail!("nothing was installed; the commands are:\n{}", typed.join("\n")),
        Action::Print => bail!(
            "packages are missing and installing them needs root; run these commands, then try again:\n{}",
            typed.join("\n")
        ),
    }
    for command in commands {
        let mut command = match facts.privilege {
            Privilege::Root => command,
            _ => sudo(&command),
        };
        eprintln!("skete: {}", process::show(&command));
        process::run(command.stdout(std::io::stderr()))?;
    }
    if facts.privilege != Privilege::Root {
        index.own()?;
    }
    Ok(())
}

fn sudo(command: &Command) -> Command {
    let mut sudo = Command::new("sudo");
    sudo.arg("DEBIAN_FRONTEND=noninteractive").arg(command.get_program()).args(command.get_args());
    sudo
}

fn privilege() -> Privilege {
    if rustix::process::geteuid().is_root() {
        return Privilege::Root;
    }
    match which("sudo") {
        None => Privilege::None,
        Some(sudo) if process::output(Command::new(&sudo).args(["-n", "true"])).is_ok() => {
            Privilege::Sudo
        }
        Some(_) => Privilege::SudoAsks,
    }
}

fn asked(packages: &str) -> Result<bool> {
    eprint!("Install {packages}? [Y/n] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    let count = std::io::stdin().read_line(&mut answer)?;
    Ok(count > 0 && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}

/// The names of a directory's files with one of these endings.
fn files_with(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let wanted = |path: &PathBuf| {
        path.extension().and_then(|e| e.to_str()).is_some_and(|e| endings.contains(&e))
    };
    let mut files: Vec<PathBuf> = entries.filter(wanted).collect();
    files.sort();
    files
}
