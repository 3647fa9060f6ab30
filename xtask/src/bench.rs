//! `cargo xtask bench`.

use clap::Args;

/// Options of `cargo xtask bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {}

/// Runs `cargo xtask bench`.
pub fn run(_args: BenchArgs) -> anyhow::Result<()> {
    anyhow::bail!("`bench` is not there yet")
}
