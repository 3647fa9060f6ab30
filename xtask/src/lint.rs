//! `cargo xtask lint`: formatting and Clippy, with every warning an error.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::progress::Step;
use crate::{paths, process};

/// Options of `cargo xtask lint`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask lint
  cargo xtask lint kernel      # only the checks whose name contains this
  cargo xtask lint --fix       # formats everything in place first")]
pub struct LintArgs {
    /// Run only the checks whose name contains this
    filter: Option<String>,

    /// Format everything in place first
    #[arg(long)]
    fix: bool,
}

/// Denied beside all warnings, everywhere.
const DENIED: [&str; 4] = ["-D", "warnings", "-D", "clippy::undocumented_unsafe_blocks"];

/// The workspaces, with what they are called here.
const WORKSPACES: [(&str, &str); 5] = [
    ("skete", "."),
    ("ecosystem", "tests/ecosystem"),
    ("examples", "examples"),
    ("programs", "tests/programs"),
    ("fuzz", "fuzz"),
];

/// One check: a cargo command that must end well.
#[derive(Clone, Debug)]
pub struct Check {
    /// What it is called.
    pub name: String,
    /// The directory it runs in, relative to the root.
    directory: &'static str,
    /// cargo's arguments.
    arguments: Vec<String>,
}

/// How a check ended.
pub enum End {
    /// Nothing to complain about.
    Clean,
    /// What cargo said.
    Complaints(String),
    /// The tool is not installed; what to do about it.
    NoTool(String),
}

impl Check {
    fn new(name: impl Into<String>, directory: &'static str, arguments: &[&str]) -> Check {
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        Check { name: name.into(), directory, arguments }
    }

    /// The command as one would type it in the root directory.
    pub fn command(&self) -> String {
        let words = self.arguments.join(" ");
        match self.directory {
            "." => format!("cargo {words}"),
            directory => format!("(cd {directory} && cargo {words})"),
        }
    }

    /// Runs the check; it says nothing itself.
    pub fn run(&self) -> Result<End> {
        let tool = self.arguments[0].as_str();
        let mut version = process::cargo();
        version.args([tool, "--version"]).current_dir(paths::root());
        if process::output(&mut version).is_err() {
            let component = if tool == "fmt" { "rustfmt" } else { tool };
            return Ok(End::NoTool(format!(
                "cargo {tool} is missing: rustup component add {component}"
            )));
        }
        let output = self.cargo().stdin(Stdio::null()).output().context("cannot start cargo")?;
        if output.status.success() {
            return Ok(End::Clean);
        }
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(End::Complaints(said))
    }

    fn cargo(&self) -> Command {
        let mut cargo = process::cargo();
        cargo.args(&self.arguments).current_dir(paths::root().join(self.directory));
        cargo
    }
}

/// All checks, the quickest first.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, directory) in WORKSPACES {
        checks.push(Check::new(format!("format {name}"), directory, &["fmt", "--all", "--check"]));
    }
    // The kernel's logic is checked as it runs in host tests, and once more with the room of the
    // processor in the place of `arch/hosted`.
    let packages: [(&str, &[&str]); 6] = [
        ("clippy hypervisor", &["-p", "skete", "-p", "skete-kvm-probe", "--all-targets"]),
        ("clippy archive", &["-p", "skete-archive", "--all-targets"]),
        (
            "clippy xtask",
            &["-p", "xtask", "-p", "skete-icount", "-p", "skete-linux-exit", "--all-targets"],
        ),
        ("clippy kernel", &["-p", "skete-kernel", "--all-targets"]),
        ("clippy loader", &["-p", "skete-loader", "--all-targets"]),
        (
            "clippy kernel with arch/x86_64",
            &["-p", "skete-kernel", "-p", "skete-std-shim", "--lib"],
        ),
    ];
    for (name, packages) in packages {
        let mut words = vec!["clippy", "--quiet"];
        words.extend(packages);
        words.push("--");
        words.extend(DENIED);
        if name.ends_with("x86_64") {
            words.extend(["--cfg", "skete_lint_arch"]);
        }
        checks.push(Check::new(name, ".", &words));
    }
    // Clippy would compile the two hundred crates of `ecosystem` for the host, for minutes.
    for (name, directory) in &WORKSPACES[2..] {
        let mut words = vec!["clippy", "--quiet", "--workspace", "--all-targets", "--"];
        words.extend(DENIED);
        checks.push(Check::new(format!("clippy {name}"), directory, &words));
    }
    checks
}

/// Runs `cargo xtask lint`.
pub fn run(args: LintArgs) -> Result<()> {
    if args.fix {
        for (_, directory) in WORKSPACES {
            process::run(
                process::cargo().args(["fmt", "--all"]).current_dir(paths::root().join(directory)),
            )?;
        }
    }
    let filter = args.filter.unwrap_or_default();
    let chosen =
        checks().into_iter().filter(|check| check.name.contains(&filter)).collect::<Vec<_>>();
    if chosen.is_empty() {
        let names = checks().into_iter().map(|check| check.name).collect::<Vec<_>>();
        bail!("no check's name contains `{filter}`; there are: {}", names.join(", "));
    }
    let mut failed = 0;
    for check in &chosen {
        let step = Step::new(&check.name);
        match check.run()? {
            End::Clean => step.done(),
            End::Complaints(said) => {
                drop(step);
                eprintln!("{}\n{}\n", check.command(), said.trim_end());
                failed += 1;
            }
            End::NoTool(advice) => bail!("{advice}"),
        }
    }
    match failed {
        0 => Ok(()),
        _ => bail!("{failed} of {} checks failed", chosen.len()),
    }
}

/// Whether `file` of the repository holds `text`; an error names both.
pub fn mentions(file: &str, text: &str) -> Result<()> {
    let content = std::fs::read_to_string(paths::root().join(Path::new(file)))
        .with_context(|| format!("cannot read {file}"))?;
    if !content.contains(text) {
        bail!("{file} does not mention `{text}`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_denies_warnings_or_is_about_format() {
        for check in checks() {
            let command = check.command();
            assert!(
                command.contains("fmt --all --check") || command.contains("-D warnings"),
                "{command}"
            );
        }
    }
}
