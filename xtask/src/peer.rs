//! What the monitor is compared with: uhyve, and a program with Hermit's kernel, both from the package registry.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};

use crate::progress::Step;
use crate::sdk::{self, Manifest};
use crate::{monitor, patches, paths, process};

/// Cargo does not build a program twice at once in the same place.
static BUILDING: Mutex<()> = Mutex::new(());

/// uhyve, built once.
pub fn uhyve() -> Result<PathBuf> {
    const VERSION: &str = "0.10.0";
    let _guard = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let root = paths::generated().join("uhyve");
    let program = root.join("bin/uhyve");
    if !program.is_file() {
        let step = Step::new("building uhyve");
        let mut cargo: Command = process::cargo();
        cargo
            .args(["install", "uhyve", "--version", VERSION, "--locked", "--quiet"])
            .arg("--root")
            .arg(&root)
            .args(["--target", monitor::TARGET, "--target-dir"])
            .arg(paths::generated().join("build/uhyve"))
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
            .current_dir("/");
        process::output(&mut cargo).context("uhyve does not build from the registry")?;
        step.done();
    }
    Ok(program)
}

/// The newest release of Hermit's kernel that the registry has with its source.
pub const HERMIT: &str = "0.11.0";

/// What the kernel is built with: the defaults of crate `hermit` but for several processors, whose trampoline is
/// assembled by a tool that not every toolchain has.
const FEATURES: &str = "acpi,dhcpv4,fs,fsgsbase,pci,pci-ids,tcp,udp,dns";

/// The memory functions that the compiler calls without being asked.
const MEMORY: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"];

/// The example hello as Hermit's users build it: upstream's standard library, and upstream's kernel linked in.
/// Built once.
pub fn hermit() -> Result<PathBuf> {
    let _guard = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let image = paths::generated().join("hermit").join(HERMIT).join("hello");
    if image.is_file() {
        return Ok(image);
    }
    let manifest = Manifest::read(&sdk::ensure()?.root)?;
    let build = paths::generated().join("build/hermit");
    let source = build.join("kernel");
    if build.is_dir() {
        fs::remove_dir_all(&build).with_context(|| format!("cannot renew {}", build.display()))?;
    }
    fs::create_dir_all(&source).with_context(|| format!("cannot make {}", source.display()))?;
    let step = Step::new("building a program with Hermit's kernel");
    take_source(&build, &source)?;
    let object = kernel(&build, &source, &manifest)?;
    step.at("linking a program with Hermit's kernel");
    const TARGET: &str = "x86_64-unknown-hermit";
    let mut flag = OsString::from("-Clink-arg=");
    flag.push(&object);
    let mut cargo = cargo_build(&build, &manifest, TARGET);
    cargo
        .args(["--package", "hello", "--manifest-path"])
        .arg(paths::root().join("examples/Cargo.toml"))
        .arg("-Zbuild-std=std,panic_abort")
        .env("CARGO_ENCODED_RUSTFLAGS", flag)
        .current_dir("/");
    process::output(&mut cargo).context("the program does not build for Hermit")?;
    let built = build.join("target").join(TARGET).join("release/hello");
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    sdk::replace(&image, &bytes)?;
    // Half a gigabyte.
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    step.done();
    Ok(image)
}

/// A cargo that builds with the library's compiler, for a target of Hermit's.
fn cargo_build(build: &Path, manifest: &Manifest, target: &str) -> Command {
    let linker = target.to_uppercase().replace('-', "_");
    let mut cargo = process::cargo();
    cargo
        .args(["build", "--quiet", "--release", "--target", target])
        .arg("--target-dir")
        .arg(build.join("target"))
        .env("RUSTC", &manifest.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env(format!("CARGO_TARGET_{linker}_LINKER"), &manifest.linker);
    cargo
}

/// Copies the kernel's source from the registry and lets today's compiler take it.
fn take_source(build: &Path, source: &Path) -> Result<()> {
    let ask = build.join("ask");
    fs::create_dir_all(&ask)?;
    fs::write(ask.join("lib.rs"), "")?;
    let manifest = format!(
        "[package]\nname = \"ask\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n\
         [dependencies]\nhermit-kernel = {{ version = \"={HERMIT}\", default-features = false }}\n"
    );
    fs::write(ask.join("Cargo.toml"), manifest)?;
    let mut cargo = process::cargo();
    cargo
        .args(["metadata", "--quiet", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-none"])
        .current_dir(&ask);
    let answer = process::output(&mut cargo).context("the registry has no Hermit kernel")?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let packages = answer["packages"].as_array().context("no packages")?;
    let found = packages.iter().find(|one| one["name"] == "hermit-kernel");
    let found = found.and_then(|one| one["manifest_path"].as_str());
    let released = found.map(Path::new).and_then(Path::parent);
    let released = released.context("the registry has no Hermit kernel")?;
    patches::copy_tree(released, source)
        .with_context(|| format!("cannot copy {}", released.display()))?;
    // It names a compiler of its time.
    fs::remove_file(source.join("rust-toolchain.toml"))?;
    for name in ["start", "switch", "scheduler"] {
        const OLD: &str = "#[naked]";
        let path = source.join(format!("src/arch/x86_64/kernel/{name}.rs"));
        let text = fs::read_to_string(&path)?;
        if !text.contains(OLD) {
            bail!("{} has no {OLD}", path.display());
        }
        fs::write(&path, text.replace(OLD, "#[unsafe(naked)]"))?;
    }
    Ok(())
}

/// Builds the kernel as one object in which only what programs call has global names.
fn kernel(build: &Path, source: &Path, manifest: &Manifest) -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-none";
    let mut cargo = cargo_build(build, manifest, TARGET);
    cargo
        .args(["--locked", "--lib", "--no-default-features", "--features", FEATURES])
        .args([
            "-Zbuild-std=core,alloc,compiler_builtins",
            "-Zbuild-std-features=compiler-builtins-mem",
        ])
        .current_dir(source);
    process::output(&mut cargo).context("Hermit's kernel does not build")?;
    let library = build.join("target").join(TARGET).join("release/libhermit.a");
    let [whole, sealed, names] = ["whole.o", "hermit.o", "names"].map(|name| build.join(name));
    let mut link = Command::new(&manifest.linker);
    link.args(["-flavor", "gnu", "-r", "--whole-archive"]);
    process::output(link.arg(&library).arg("-o").arg(&whole))?;
    let bytes = fs::read(&whole)?;
    let mut list = String::new();
    for symbol in object::File::parse(&*bytes)?.symbols() {
        let name = symbol.name()?;
        let wanted = name == "_start" || name.starts_with("sys_") || MEMORY.contains(&name);
        if wanted && symbol.is_global() && symbol.is_definition() {
            list += &format!("{name}\n");
        }
    }
    fs::write(&names, list)?;
    let mut objcopy = Command::new("objcopy");
    objcopy.arg(format!("--keep-global-symbols={}", names.display()));
    process::output(objcopy.arg(&whole).arg(&sealed))?;
    Ok(sealed)
}
