//! Every task a person does with Skete is a verb of `cargo xtask`.
//!
//! The same program is also the SDK's `rustc` and its runner: the name it is started by decides
//! (see [`wrapper`] and [`runner`]).

mod bench;
mod change;
mod clean;
mod conformance;
mod devices;
mod fuzz;
mod hash;
mod image;
mod init;
mod kernel;
mod linker;
mod lint;
mod linux;
mod monitor;
mod net;
mod overlay;
mod packages;
mod patches;
mod paths;
mod peer;
mod process;
mod progress;
mod qemu;
mod root;
mod run;
mod runner;
mod sdk;
mod service;
mod size;
mod stream;
mod stress;
mod sysroot;
mod test;
mod toolchain;
mod wrapper;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Turns ordinary Rust programs into bootable unikernel images, and boots them.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Setup(sdk::SetupArgs),
    Build(image::BuildArgs),
    Run(Box<run::RunArgs>),
    Init(init::InitArgs),
    /// Checks everything: formatting, lints, host tests, guest tests in QEMU
    Test(test::TestArgs),
    /// Checks formatting and lints
    Lint(lint::LintArgs),
    /// Measures instructions, bytes and memory against the promises in SPECIFICATION.md
    Bench(bench::BenchArgs),
    /// Shows what is inside an image and why
    Size(size::SizeArgs),
    Fuzz(fuzz::FuzzArgs),
    Stress(stress::StressArgs),
    Conformance(conformance::ConformanceArgs),
    Kvm(monitor::KvmArgs),
    Clean(clean::CleanArgs),
}

fn main() -> ExitCode {
    let name = std::env::args_os().next();
    let name = name.as_deref().map(Path::new).and_then(Path::file_name);
    let outcome = match name.and_then(OsStr::to_str) {
        Some("rustc") => wrapper::rustc(),
        Some("rustdoc") => wrapper::rustdoc(),
        Some("skete-run") => runner::main(),
        Some(linker::NAME) => linker::main(),
        _ => verb(),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A reader that has seen enough, as `head` has, is no bug: this process ends as others do then.
fn end_with_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            // 128 and the number of SIGPIPE.
            std::process::exit(141);
        }
        usual(info);
    }));
}

fn verb() -> anyhow::Result<ExitCode> {
    end_with_reader();
    match Cli::parse().verb {
        Verb::Setup(args) => sdk::run(args)?,
        Verb::Build(args) => image::run(args)?,
        Verb::Run(args) => return run::run(*args),
        Verb::Init(args) => init::run(args)?,
        Verb::Test(args) => test::run(args)?,
        Verb::Lint(args) => lint::run(args)?,
        Verb::Bench(args) => bench::run(args)?,
        Verb::Size(args) => size::run(args)?,
        Verb::Fuzz(args) => fuzz::run(args)?,
        Verb::Stress(args) => stress::run(args)?,
        Verb::Conformance(args) => conformance::run(args)?,
        Verb::Kvm(args) => return monitor::run(args),
        Verb::Clean(args) => clean::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}
