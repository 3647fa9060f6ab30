//! The sysroots: Rust's standard library for the target, with our changes, prebuilt.
//!
//! A program is then built by any cargo, without `-Z` flags and without building std first.
//! The changed source lies there too, so that `-Zbuild-std` works as well.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use walkdir::WalkDir;

use crate::hash::Key;
use crate::progress::Step;
use crate::sdk::{Keys, TARGET};
use crate::toolchain::Toolchain;
use crate::{overlay, paths, process};

/// What std is compiled with: bitcode for programs that use LTO, and the marks that keep unstable
/// interfaces unstable.
const FLAGS: &str =
    "-Zunstable-options -Zforce-unstable-if-unmarked -Cembed-bitcode=yes --cap-lints=warn";

/// Where the target's specification lies in the SDK at `root`.
///
/// The compiler is always given this path, never the target's name alone: the two count as
/// different targets in a library's metadata, and rustdoc runs the examples of a documentation for
/// a specification only.
pub fn specification(root: &Path) -> PathBuf {
    root.join("lib/rustlib").join(TARGET).join(format!("{TARGET}.json"))
}

/// What a panic does in a program. The library is prebuilt for each: for a program that aborts it
/// holds neither landing pads nor tables nor an unwinder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panic {
    /// Destructors run, and the panic can be caught: the target's own choice.
    Unwind,
    /// The machine ends (`panic = "abort"`).
    Abort,
}

impl Panic {
    /// The sysroot with the library for this, in the SDK at `root`.
    pub fn sysroot(self, root: &Path) -> PathBuf {
        match self {
            Panic::Unwind => root.to_path_buf(),
            Panic::Abort => root.join("abort"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Panic::Unwind => "unwind",
            Panic::Abort => "abort",
        }
    }
}

/// Makes the sysroots in `root`; gives the key of the libraries in them.
pub fn make(keys: &mut Keys, root: &Path, toolchain: &Toolchain, linker: &Path) -> Result<String> {
    host(keys, root, toolchain, linker)?;

    let changes = paths::root().join("std-shim/std");
    let rustlib = root.join("lib/rustlib");
    let source = rustlib.join("src/rust/library");
    let key = Key::new("library source")
        .text(include_str!("overlay.rs"))
        .text(include_str!("change.rs"))
        .text(&toolchain.version)
        .stamps(&toolchain.library)?
        .content(&changes)?
        .finish();
    keys.step("library source", &key, &[&source], || copy_library(&changes, toolchain, &source))?;

    let specification = paths::root().join("std-shim/targets").join(format!("{TARGET}.json"));
    let key = Key::new("library")
        .text(&key)
        .text(include_str!("sysroot.rs"))
        .content(&specification)?
        .finish();
    for panic in [Panic::Unwind, Panic::Abort] {
        let sysroot = panic.sysroot(root);
        let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
        let specified = self::specification(&sysroot);
        let outputs = [libraries.as_path(), &specified];
        keys.step(&format!("library: {}", panic.name()), &key, &outputs, || {
            if panic == Panic::Abort {
                share(root, &sysroot, &toolchain.host)?;
            }
            prebuild(&sysroot, toolchain, &source, &specification, panic)
        })?;
    }
    Ok(key)
}

/// Links the compiler's own libraries for the host, which build scripts and procedural macros are
/// compiled with, and its tools with our linker among them.
fn host(keys: &mut Keys, root: &Path, toolchain: &Toolchain, linker: &Path) -> Result<()> {
    let own = toolchain.sysroot.join("lib/rustlib").join(&toolchain.host);
    let dir = root.join("lib/rustlib").join(&toolchain.host);
    let key = Key::new("host")
        .text(&toolchain.version)
        .text(&own.to_string_lossy())
        .text(&linker.to_string_lossy())
        .finish();
    keys.step("host", &key, &[&dir.join("lib"), &dir.join("bin/rust-lld")], || {
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
        symlink(own.join("lib"), dir.join("lib"))?;
        for entry in fs::read_dir(own.join("bin")).into_iter().flatten() {
            let entry = entry?;
            if entry.file_name() != "rust-lld" {
                symlink(entry.path(), bin.join(entry.file_name()))?;
            }
        }
        symlink(linker, bin.join("rust-lld"))?;
        Ok(())
    })
}

/// Gives the second sysroot what it has in common with the first.
fn share(root: &Path, sysroot: &Path, host: &str) -> Result<()> {
    let rustlib = sysroot.join("lib/rustlib");
    fs::create_dir_all(&rustlib).with_context(|| format!("cannot create {}", rustlib.display()))?;
    for name in [host, "src"] {
        let link = rustlib.join(name);
        let _ = fs::remove_file(&link);
        symlink(root.join("lib/rustlib").join(name), &link)
            .with_context(|| format!("cannot write {}", link.display()))?;
    }
    Ok(())
}

/// Copies the library's source and applies our changes.
fn copy_library(changes: &Path, toolchain: &Toolchain, copy: &Path) -> Result<()> {
    let step = Step::new("copying and changing the standard library's source");
    let new = copy.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("cannot remove {}", new.display()))?;
    }
    for entry in WalkDir::new(&toolchain.library).follow_links(true) {
        let entry =
            entry.with_context(|| format!("cannot list {}", toolchain.library.display()))?;
        let to = new.join(entry.path().strip_prefix(&toolchain.library)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
        } else {
            copy_file(entry.path(), &to)
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    overlay::apply(changes, &new, toolchain.release)?;
    if copy.exists() {
        fs::remove_dir_all(copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    }
    fs::rename(&new, copy).with_context(|| format!("cannot write {}", copy.display()))?;
    step.done();
    Ok(())
}

/// Copies a file with its time, by which cargo tells that a crate has not changed.
pub fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)?;
    let times = FileTimes::new().set_modified(fs::metadata(from)?.modified()?);
    File::options().write(true).open(to)?.set_times(times)?;
    Ok(())
}

/// Compiles the library and puts it where the compiler looks for it.
fn prebuild(
    sysroot: &Path,
    toolchain: &Toolchain,
    source: &Path,
    specification: &Path,
    panic: Panic,
) -> Result<()> {
    let step = Step::new(match panic {
        Panic::Unwind => "building the standard library",
        Panic::Abort => "building the standard library for panic = \"abort\"",
    });
    let (flags, features) = match panic {
        Panic::Unwind => (FLAGS.to_owned(), "backtrace,panic-unwind"),
        Panic::Abort => (format!("{FLAGS} -Cpanic=abort"), "backtrace"),
    };
    // Panics and backtraces name the library's files as those of the compiler's own library.
    let remap = format!(
        "\x1f--remap-path-prefix={}=/rustc/{}/library",
        source.display(),
        toolchain.release
    );
    let vendor = source.join("vendor");
    let mut cargo = process::cargo();
    cargo
        .args([
            "build",
            "--release",
            "--package",
            "sysroot",
            "--no-default-features",
            "--features",
            features,
        ])
        .arg("--manifest-path")
        .arg(source.join("Cargo.toml"))
        .args(["--message-format", "json-render-diagnostics", "-Zjson-target-spec", "--target"])
        .arg(specification)
        .arg("--target-dir")
        .arg(paths::generated().join("build/library").join(panic.name()))
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.replace(' ', "\x1f") + &remap)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("__CARGO_DEFAULT_LIB_METADATA", "skete")
        .current_dir(source);
    if vendor.is_dir() {
        let directory = toml_edit::Value::from(vendor.to_string_lossy().into_owned());
        cargo.args(["--config", "source.crates-io.replace-with=\"vendored\""]);
        cargo.args(["--config", &format!("source.vendored.directory={directory}")]);
        cargo.args(["--offline", "-Zavoid-dev-deps"]);
    }
    let messages =
        process::watched(&mut cargo, &step).context("the standard library does not build")?;
    let libraries = libraries(&messages);
    if !libraries.iter().any(|path| path.to_string_lossy().contains("libstd-")) {
        bail!("cargo built the standard library, but names no libstd among its results");
    }

    let target = sysroot.join("lib/rustlib").join(TARGET);
    if target.exists() {
        fs::remove_dir_all(&target)
            .with_context(|| format!("cannot remove {}", target.display()))?;
    }
    let lib = target.join("lib");
    fs::create_dir_all(&lib).with_context(|| format!("cannot create {}", lib.display()))?;
    for path in libraries {
        let name = path.file_name().context("a library without a name")?;
        fs::copy(&path, lib.join(name))
            .with_context(|| format!("cannot copy {}", path.display()))?;
    }
    fs::copy(specification, self::specification(sysroot))
        .context("cannot copy the target's specification")?;
    step.done();
    Ok(())
}

/// The libraries for the target among cargo's messages.
fn libraries(messages: &str) -> Vec<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let files = artifacts.filter_map(|message| message["filenames"].as_array().cloned()).flatten();
    let paths = files.filter_map(|file| file.as_str().map(PathBuf::from));
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "rlib"))
        .filter(|path| path.components().any(|part| part.as_os_str() == TARGET))
        .collect()
}
