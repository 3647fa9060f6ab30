//! `cargo xtask size`.

use clap::Args;

/// Options of `cargo xtask size`.
#[derive(Args, Debug)]
pub struct SizeArgs {}

/// Runs `cargo xtask size`.
pub fn run(_args: SizeArgs) -> anyhow::Result<()> {
    anyhow::bail!("`size` is not there yet")
}
