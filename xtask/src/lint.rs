//! `cargo xtask lint`.

use clap::Args;

/// Options of `cargo xtask lint`.
#[derive(Args, Debug)]
pub struct LintArgs {}

/// Runs `cargo xtask lint`.
pub fn run(_args: LintArgs) -> anyhow::Result<()> {
    anyhow::bail!("`lint` is not there yet")
}
