//! `skete-run`, which cargo starts instead of a program: `skete-run IMAGE ARGUMENTS`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::run::VmArgs;

/// Boots an image in QEMU, as `cargo run` and `cargo test` do in a crate set up with
/// `cargo xtask init`
#[derive(Parser, Debug)]
#[command(name = "skete-run", version)]
struct RunnerArgs {
    #[command(flatten)]
    vm: VmArgs,

    /// The image
    image: PathBuf,

    /// The program's arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Acts as the runner.
pub fn main() -> Result<ExitCode> {
    let args = RunnerArgs::parse();
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let root = program.ancestors().nth(2).context("this program does not lie in an SDK")?;
    args.vm.boot(root.join("lib/loader.elf"), args.image, args.args)
}
