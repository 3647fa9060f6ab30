//! `cargo xtask test`.

use clap::Args;

/// Options of `cargo xtask test`.
#[derive(Args, Debug)]
pub struct TestArgs {}

/// Runs `cargo xtask test`.
pub fn run(_args: TestArgs) -> anyhow::Result<()> {
    anyhow::bail!("`test` is not there yet")
}
