//! A program of the repository, built for Linux as one static file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::exit_library;
use crate::image::ROOMS;
use crate::sdk::{Manifest, Sdk};
use crate::{paths, process};

/// The target that programs are built for.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A program for Linux.
pub struct Program {
    /// With its symbols. It is linked to fixed addresses, so that these are the ones it runs at.
    pub symbols: PathBuf,
    /// Without them: what is booted.
    pub stripped: PathBuf,
}

impl Program {
    /// Builds a program of the repository with the compiler that Skete's images are built with.
    pub fn build(sdk: &Sdk, name: &str) -> Result<Program> {
        let manifest = manifest(name)?;
        let target = paths::generated().join("build/linux");
        let exit = exit_library()?;
        let flags = [
            "-Ctarget-feature=+crt-static".to_owned(),
            "-Crelocation-model=static".to_owned(),
            "-Clink-arg=-Wl,-u,skete_linux_exit".to_owned(),
            format!("-Clink-arg={}", exit.display()),
            // Behind what needs it.
            "-Clink-arg=-l:libc.a".to_owned(),
        ];
        let mut cargo = process::cargo();
        cargo
            .args(["build", "--quiet", "--release", "--bin", name])
            .args(["--target", TARGET, "--manifest-path"])
            .arg(&manifest)
            .arg("--target-dir")
            .arg(&target)
            .env("RUSTC", Manifest::read(&sdk.root)?.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .stdin(Stdio::null());
        process::run(&mut cargo).with_context(|| {
            format!("{name} does not build for Linux as a static program (is libc6-dev installed?)")
        })?;
        let symbols = target.join(TARGET).join("release").join(name);
        let stripped = symbols.with_extension("stripped");
        let mut objcopy = Command::new("objcopy");
        objcopy.arg("--strip-all").args([&symbols, &stripped]);
        process::output(&mut objcopy)?;
        Ok(Program { symbols, stripped })
    }
}

/// The manifest of a program of the repository.
fn manifest(name: &str) -> Result<PathBuf> {
    let places = ROOMS.map(|room| Path::new(room).join(name).join("Cargo.toml"));
    places
        .into_iter()
        .map(|place| paths::root().join(place))
        .find(|path| path.is_file())
        .with_context(|| format!("no program of the repository is called {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name() -> Result<()> {
        for name in ["hello", "operations", "scaling"] {
            assert!(manifest(name)?.ends_with(format!("{name}/Cargo.toml")));
        }
        assert!(manifest("no-such-program").is_err());
        Ok(())
    }
}
