//! `cargo xtask clean`.

use std::fs;

use anyhow::{Context, Result};
use clap::Args;

use crate::paths;

/// Removes everything that Skete generated (target/skete)
///
/// Packages that `setup` installed stay installed.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask clean")]
pub struct CleanArgs {}

/// Runs `cargo xtask clean`.
pub fn run(_args: CleanArgs) -> Result<()> {
    let generated = paths::generated();
    if generated.exists() {
        fs::remove_dir_all(&generated)
            .with_context(|| format!("cannot remove {}", generated.display()))?;
        eprintln!("skete: removed {}", generated.display());
    }
    Ok(())
}
