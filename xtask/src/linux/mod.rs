//! A Linux guest: a kernel for virtual machines and one program, which is its first and only process.
//!
//! It stands beside Skete in `cargo xtask bench --against linux`: the same program in the same
//! machine, in the way that it would otherwise be run.

pub mod direct;
mod initramfs;
mod kernel;
pub mod nested;
mod program;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::hash::Key;
use crate::qemu::{Bytes, Machine, Vm};
use crate::sdk::{self, Sdk};
use crate::{paths, process};

pub use program::Program;

/// What the kernel is told: no output but the program's and that of a panic, which is the end, and
/// nothing that would only slow it down here. There is nobody in the machine to be protected from,
/// and QEMU's clock and timer are known to be good.
const OPTIONS: [&str; 7] = [
    "console=ttyS0",
    "loglevel=1",
    "panic=-1",
    "mitigations=off",
    "tsc=reliable",
    "no_timer_check",
    "edd=off",
];

/// The variable that tells the program's machine its address (`xtask/linux-exit`).
const ADDRESS: &str = "SKETE_LINUX_ADDRESS";

/// The memory of its machines. With less than about 70 MiB the kernel does not start.
pub const MEMORY: Bytes = Bytes(256 << 20);

/// A kernel that boots programs.
pub struct Linux {
    /// The kernel's file, a bzImage.
    kernel: PathBuf,
    /// Its name, as `uname -r` and `uname -v` show it.
    version: String,
}

impl Linux {
    /// Takes this kernel, else the distribution's, which is downloaded the first time.
    pub fn ensure(kernel: Option<&Path>) -> Result<Linux> {
        let kernel = match kernel {
            Some(kernel) => kernel.to_owned(),
            None => kernel::ensure()?,
        };
        let version = kernel::version(&kernel)?;
        Ok(Linux { kernel, version })
    }

    /// The kernel's name, as `uname -r` and `uname -v` show it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The kernel's file.
    pub fn kernel(&self) -> &Path {
        &self.kernel
    }

    /// The words that the kernel finds on its command line.
    pub fn options() -> String {
        OPTIONS.join(" ")
    }

    /// A machine that boots a program: a PC, which every Linux boots on.
    pub fn vm(&self, sdk: &Sdk, program: &Program) -> Result<Vm> {
        self.boot(sdk, program, &[], "cpio")
    }

    /// A machine like that of [`vm`](Self::vm) whose kernel also knows network cards: the first gets
    /// `address`, like 10.0.0.2/24, before the program begins.
    pub fn networked(&self, sdk: &Sdk, program: &Program, address: &str) -> Result<Vm> {
        let modules = kernel::modules(&self.kernel).into_iter().map(fs::read);
        let modules = modules.collect::<io::Result<Vec<_>>>()?;
        let mut vm = self.boot(sdk, program, &modules, "network.cpio")?;
        // What the kernel does not know becomes a variable of its first process's.
        if let Some(options) = &mut vm.options {
            options.push(format!("{ADDRESS}={address}"));
        }
        Ok(vm)
    }

    fn boot(
        &self,
        sdk: &Sdk,
        program: &Program,
        modules: &[Vec<u8>],
        extension: &str,
    ) -> Result<Vm> {
        let archive = initramfs::write(&fs::read(&program.stripped)?, modules)
            .with_context(|| format!("cannot pack {}", program.stripped.display()))?;
        let initramfs = program.stripped.with_extension(extension);
        sdk::replace(&initramfs, &archive)?;
        Ok(Vm {
            loader: self.kernel.clone(),
            machine: Machine::Pc,
            memory: MEMORY,
            options: Some(OPTIONS.map(str::to_owned).into()),
            ..Vm::new(sdk, initramfs)
        })
    }
}

/// The library that lets a program end the machine, under a name that changes with its content:
/// cargo does not see that what a program is linked with has changed.
fn exit_library() -> Result<PathBuf> {
    let target = paths::generated().join("build/linux-exit");
    let mut cargo = process::cargo();
    cargo
        .args(["build", "--quiet", "--package", "skete-linux-exit"])
        .args(["--profile", "linux-exit", "--target", program::TARGET, "--target-dir"])
        .arg(&target)
        .current_dir(paths::root());
    process::run(&mut cargo).context("the library for Linux programs does not build")?;
    let built = target.join(program::TARGET).join("linux-exit/libskete_linux_exit.rlib");
    let key = Key::new("linux-exit").content(&built)?.finish();
    let named = target.join(format!("libskete_linux_exit-{key}.rlib"));
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    sdk::replace(&named, &bytes)?;
    Ok(named)
}
