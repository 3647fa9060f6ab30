//! `cargo xtask fuzz`: runs a fuzz target for a while.
//!
//! The targets in `fuzz/` have the layout of cargo-fuzz, and `cargo fuzz run` takes them too; nothing but a
//! nightly compiler and a C++ compiler is needed to run them from here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{paths, process};

/// Feeds a part of the system with made-up input until something breaks or the time is over
///
/// Inputs that reach new code are kept in fuzz/corpus/TARGET; one that breaks something is written to
/// fuzz/artifacts/TARGET, and the last lines of the output name it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz                          # what there is
  cargo xtask fuzz filesystem
  cargo xtask fuzz filesystem --time 600
  cargo xtask fuzz filesystem fuzz/artifacts/filesystem/crash-…   # one input again")]
pub struct FuzzArgs {
    /// The target; all are listed when it is absent
    target: Option<String>,

    /// Run only these inputs
    inputs: Vec<PathBuf>,

    /// Seconds to run for
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    time: u32,
}

/// What the compiler adds so that libFuzzer sees which code an input reaches, and AddressSanitizer every wrong
/// access: the flags of cargo-fuzz.
const FLAGS: [&str; 9] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

/// Runs `cargo xtask fuzz`.
pub fn run(args: FuzzArgs) -> Result<()> {
    let fuzz = paths::root().join("fuzz");
    let targets = targets(&fuzz)?;
    let Some(target) = args.target else {
        targets.iter().for_each(|target| println!("{target}"));
        return Ok(());
    };
    if !targets.contains(&target) {
        bail!("no fuzz target `{target}`; there are: {}", targets.join(", "));
    }
    let host = host()?;
    let mut cargo = process::cargo();
    cargo
        .current_dir(&fuzz)
        .args(["build", "--release", "--features", "libfuzzer", "--bin", &target])
        .args(["--target", &host])
        .env("RUSTFLAGS", FLAGS.join(" "));
    process::run(&mut cargo).context(
        "the target does not build; it takes a nightly compiler and a C++ compiler (g++)",
    )?;

    let [corpus, artifacts] = ["corpus", "artifacts"].map(|what| fuzz.join(what).join(&target));
    for directory in [&corpus, &artifacts] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let program = fuzz.join("target").join(&host).join("release").join(&target);
    let mut command = Command::new(program);
    command
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=30", "-print_final_stats=1"]);
    if args.inputs.is_empty() {
        command.arg(format!("-max_total_time={}", args.time)).arg(corpus);
    } else {
        command.args(args.inputs);
    }
    process::run(&mut command)
        .with_context(|| format!("the fuzz target `{target}` found something"))
}

/// The names of all targets.
fn targets(fuzz: &Path) -> Result<Vec<String>> {
    let directory = fuzz.join("fuzz_targets");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut targets = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            targets.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    targets.sort();
    Ok(targets)
}

/// The machine that the targets are compiled for: named, so that the flags reach no build script.
fn host() -> Result<String> {
    let version = process::output(Command::new("rustc").arg("-vV").current_dir(paths::root()))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_program_of_the_manifest() -> Result<()> {
        let fuzz = paths::root().join("fuzz");
        let manifest: toml::Table = toml::from_str(&fs::read_to_string(fuzz.join("Cargo.toml"))?)?;
        let programs = manifest["bin"].as_array().context("no [[bin]]")?;
        let mut names =
            programs.iter().filter_map(|program| program["name"].as_str()).collect::<Vec<_>>();
        names.sort_unstable();
        assert_eq!(names, targets(&fuzz)?);
        Ok(())
    }
}
