//! `skete-run`, which cargo starts instead of a program: `skete-run IMAGE ARGUMENTS`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::run::VmArgs;

/// Boots an image in QEMU, as `cargo run` and `cargo test` do in a crate set up with
/// `cargo xtask init`
///
/// Options come before the image, or from the environment variables named below; everything behind
/// the image belongs to the program.
#[derive(Parser, Debug)]
#[command(
    name = "skete-run",
    version,
    override_usage = "skete-run [OPTIONS] <IMAGE> [ARGUMENTS]..."
)]
struct RunnerArgs {
    #[command(flatten)]
    vm: VmArgs,

    /// The image
    image: PathBuf,

    /// The program's arguments
    #[arg(last = true)]
    args: Vec<String>,
}

/// Acts as the runner.
pub fn main() -> Result<ExitCode> {
    let args = RunnerArgs::parse_from(separate(std::env::args_os().collect()));
    args.vm.check()?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let root = program.ancestors().nth(2).context("this program does not lie in an SDK")?;
    args.vm.boot(root.join("lib/loader.elf"), args.image, args.args)
}

/// Puts `--` behind the image where cargo has called us, which gives the image first and then what
/// is meant for the program, `--help` included.
fn separate(mut args: Vec<OsString>) -> Vec<OsString> {
    if args.get(1).is_some_and(|first| !first.as_encoded_bytes().starts_with(b"-")) {
        args.insert(2, "--".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<String> {
        let args = RunnerArgs::parse_from(separate(line.split(' ').map(OsString::from).collect()));
        [vec![args.image.display().to_string()], args.args].concat()
    }

    #[test]
    fn everything_behind_the_image_is_the_programs() {
        assert_eq!(read("skete-run app"), ["app"]);
        assert_eq!(
            read("skete-run app --help --smp 2 -- x"),
            ["app", "--help", "--smp", "2", "--", "x"]
        );
        assert_eq!(read("skete-run --smp 2 app -- --help"), ["app", "--help"]);
    }
}
