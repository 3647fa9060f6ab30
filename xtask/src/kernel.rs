//! Builds what is ours inside a running machine: the kernel object and the loader.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};

use crate::hash::Key;
use crate::progress::Step;
use crate::sdk::{Keys, replace};
use crate::toolchain::Toolchain;
use crate::{paths, process};

/// The kernel's own target: no vector registers, so that it never touches the program's.
const TARGET: &str = "x86_64-skete-kernel";
/// The loader's target.
const LOADER_TARGET: &str = "x86_64-unknown-none";

/// The memory functions that the compiler calls without being asked.
const MEMORY: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"];
/// What the object leaves for the program to define, std's entry, for the linker, the image's own ELF
/// header and whether devices are wanted, and for the wrapper, an archive in the image.
const IMPORTS: [&str; 5] =
    ["runtime_entry", "__ehdr_start", "skete_devices", "skete_root_start", "skete_root_end"];

/// The sources that the kernel is made from.
const KERNEL_SOURCES: [&str; 9] = [
    "archive",
    "kernel",
    "std-shim/Cargo.toml",
    "std-shim/abi.txt",
    "std-shim/src",
    "std-shim/targets",
    "Cargo.toml",
    "Cargo.lock",
    ".cargo/config.toml",
];
/// The sources that the loader is made from.
const LOADER_SOURCES: [&str; 5] =
    ["archive", "loader", "Cargo.toml", "Cargo.lock", ".cargo/config.toml"];

/// Makes the kernel object: kernel and std-shim in one relocatable file, in which only the
/// functions that a program may call have global names. The file changes only with its content, so
/// programs are linked again only then.
pub fn object(
    keys: &mut Keys,
    root: &Path,
    toolchain: &Toolchain,
    linker: &Path,
) -> Result<PathBuf> {
    let object = root.join("lib/kernel.o");
    let key = sources("kernel", &KERNEL_SOURCES, toolchain, linker)?;
    keys.step("kernel", &key, &[&object], || {
        let step = Step::new("building the kernel");
        let target = paths::root().join("std-shim/targets").join(format!("{TARGET}.json"));
        let build = paths::generated().join("build/kernel");
        let mut cargo = build_std(toolchain, linker, &build);
        // Backtraces name the kernel's files without saying where this copy of them lies.
        let root = paths::root();
        let remap = toml_edit::Value::from(format!("--remap-path-prefix={}=skete", root.display()));
        cargo
            .arg("--config")
            .arg(format!("target.{TARGET}.rustflags=[{remap}]"))
            .args(["--package", "skete-std-shim", "--profile", "kernel"])
            .args(["-Zjson-target-spec", "-Zbuild-std-features=compiler-builtins-mem", "--target"])
            .arg(&target);
        process::run(&mut cargo).context("the kernel does not build")?;

        step.at("linking it into one object");
        let library = build.join(TARGET).join("kernel/libskete_std_shim.a");
        let whole = build.join("whole.o");
        process::run(
            Command::new(linker)
                .args(["-flavor", "gnu", "-r", "--whole-archive"])
                .arg(&library)
                .arg("-o")
                .arg(&whole),
        )?;
        let interface = interface(&fs::read(&whole)?)?;
        let names = build.join("interface.txt");
        fs::write(&names, interface.join("\n") + "\n")?;
        let sealed = build.join("kernel.o");
        process::run(
            Command::new("objcopy")
                .arg(format!("--keep-global-symbols={}", names.display()))
                .args(["--remove-section=.llvmbc", "--remove-section=.llvmcmd"])
                .arg(&whole)
                .arg(&sealed),
        )?;
        replace(&object, &fs::read(&sealed)?)?;
        step.done();
        Ok(())
    })?;
    Ok(object)
}

/// Makes the loader, an ELF file that QEMU takes as `-kernel`.
pub fn loader(
    keys: &mut Keys,
    root: &Path,
    toolchain: &Toolchain,
    linker: &Path,
) -> Result<PathBuf> {
    let loader = root.join("lib/loader.elf");
    let key = sources("loader", &LOADER_SOURCES, toolchain, linker)?;
    keys.step("loader", &key, &[&loader], || {
        let step = Step::new("building the loader");
        let build = paths::generated().join("build/loader");
        let mut cargo = build_std(toolchain, linker, &build);
        cargo.args(["--package", "skete-loader", "--profile", "loader"]).args([
            "-Zbuild-std-features=compiler-builtins-mem",
            "--target",
            LOADER_TARGET,
        ]);
        process::run(&mut cargo).context("the loader does not build")?;
        replace(&loader, &fs::read(build.join(LOADER_TARGET).join("loader/skete-loader"))?)?;
        step.done();
        Ok(())
    })?;
    Ok(loader)
}

/// A cargo that builds for bare metal with the toolchain, `core` and `alloc` included.
fn build_std(toolchain: &Toolchain, linker: &Path, build: &Path) -> Command {
    let mut cargo = process::cargo();
    cargo
        .args(["build", "--quiet", "-Zbuild-std=core,alloc,compiler_builtins", "--target-dir"])
        .arg(build)
        .current_dir(paths::root())
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", linker)
        .stdin(std::process::Stdio::null())
        .stdout(std::io::stderr());
    cargo
}

fn sources(name: &str, sources: &[&str], toolchain: &Toolchain, linker: &Path) -> Result<String> {
    // How it is made counts as well as what it is made from.
    let mut key = Key::new(name)
        .text(include_str!("kernel.rs"))
        .text(&toolchain.version)
        .text(&linker.to_string_lossy());
    for source in sources {
        key = key.content(&paths::root().join(source))?;
    }
    Ok(key.finish())
}

/// The names that stay global: the entry, every `sys_*` function, the memory functions, and what
/// `std-shim/abi.txt` lists. Checks that nothing is missing and nothing else is left undefined.
fn interface(object: &[u8]) -> Result<Vec<String>> {
    let file =
        object::File::parse(object).context("the linker wrote something that is not an object")?;
    let mut defined = BTreeSet::new();
    let mut undefined = BTreeSet::new();
    for symbol in file.symbols().filter(|symbol| symbol.is_global()) {
        let name = symbol.name().context("a symbol without a name")?.to_owned();
        if symbol.is_undefined() {
            undefined.insert(name)
        } else {
            defined.insert(name)
        };
    }
    undefined.retain(|name| !IMPORTS.contains(&name.as_str()));
    if !undefined.is_empty() {
        let names = undefined.into_iter().collect::<Vec<_>>();
        bail!("the kernel uses functions that nothing defines: {}", names.join(", "));
    }
    let list = paths::root().join("std-shim/abi.txt");
    let list = fs::read_to_string(&list).unwrap_or_default();
    let listed =
        list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let wanted: BTreeSet<&str> = MEMORY.into_iter().chain(["_start"]).chain(listed).collect();
    let missing: Vec<&str> =
        wanted.iter().copied().filter(|name| !defined.contains(*name)).collect();
    if !missing.is_empty() {
        bail!("the kernel does not define {}", missing.join(", "));
    }
    let keep = |name: &String| name.starts_with("sys_") || wanted.contains(name.as_str());
    Ok(defined.iter().filter(|name| keep(name)).cloned().collect())
}
