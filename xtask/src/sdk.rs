//! The SDK in `target/skete/sdk`: everything that turns a Rust program into an image.
//!
//! It is a Rust sysroot with three more things in it: wrappers for the compiler, the loader, and
//! the kernel as one object file. Each part is made again when the key of its inputs changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use semver::VersionReq;
use serde::{Deserialize, Serialize};

use crate::patches::{self, Catalogue};
use crate::{kernel, linker, packages, paths, sysroot};

/// The target that programs are built for.
pub const TARGET: &str = "x86_64-unknown-skete";

/// Sets up what is missing: packages, standard library, kernel, loader
///
/// Every other verb does this too, so there is rarely a need to call it. When everything is up to
/// date it takes a moment.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask setup\n  cargo xtask setup --yes      # installs packages without asking"
)]
pub struct SetupArgs {
    /// Also install the programs that tests and measurements of networks use: curl, wrk, dnsmasq, …
    #[arg(long)]
    network: bool,

    /// Install missing packages without asking
    #[arg(long, short)]
    yes: bool,
}

/// Runs `cargo xtask setup`.
pub fn run(args: SetupArgs) -> Result<()> {
    if args.network {
        packages::ensure_network(args.yes)?;
    }
    let sdk = ensure_with(args.yes)?;
    println!("{}", sdk.root.display());
    Ok(())
}

/// A complete SDK.
#[derive(Clone, Debug)]
pub struct Sdk {
    /// Its directory, which is also the sysroot.
    pub root: PathBuf,
    /// The compiler for programs, a wrapper.
    pub rustc: PathBuf,
    /// rustdoc for programs, a wrapper; runs the examples in documentation.
    pub rustdoc: PathBuf,
    /// The runner that cargo starts images with.
    pub runner: PathBuf,
    /// The loader that boots an image.
    pub loader: PathBuf,
    /// The kernel, one relocatable object.
    pub kernel_object: PathBuf,
}

/// What the wrappers have to know (`sdk/skete.json`).
#[derive(Serialize, Deserialize)]
pub struct Manifest {
    /// The compiler behind the wrapper.
    pub rustc: PathBuf,
    /// Whether it takes unstable options as it is.
    pub nightly: bool,
    /// The key of the prebuilt standard library; a program is built again when it changes.
    pub library: String,
    /// The kernel object; a program is linked again when it changes.
    pub kernel: PathBuf,
    /// The linker's program.
    pub linker: PathBuf,
    /// The crates that do not work as released, with the versions that we change.
    pub crates: BTreeMap<String, Vec<VersionReq>>,
}

impl Manifest {
    /// Reads the manifest of the SDK in `root`.
    pub fn read(root: &Path) -> Result<Manifest> {
        let path = root.join("skete.json");
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; run `cargo xtask setup`", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; run `cargo xtask setup`", path.display()))
    }
}

/// The keys that the parts of the SDK were last made from (`sdk/keys.json`).
#[derive(Default, Serialize, Deserialize)]
pub struct Keys(BTreeMap<String, String>);

impl Keys {
    fn path() -> PathBuf {
        paths::sdk().join("keys.json")
    }

    fn read() -> Keys {
        fs::read(Keys::path())
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Makes a part unless it was made from the same key before. `outputs` must exist then.
    pub fn step(
        &mut self,
        name: &str,
        key: &str,
        outputs: &[&Path],
        make: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.0.get(name).is_some_and(|made| made == key)
            && outputs.iter().all(|path| path.exists())
        {
            return Ok(());
        }
        self.0.remove(name);
        self.write()?;
        make()?;
        self.0.insert(name.to_owned(), key.to_owned());
        self.write()
    }

    fn write(&self) -> Result<()> {
        replace(&Keys::path(), serde_json::to_string_pretty(self)?.as_bytes())
    }
}

/// Writes a file in one step, so that no reader sees a half of it; leaves an equal file alone.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let dir = path.parent().context("a file without a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let write = || -> Result<()> {
        let file = tempfile::NamedTempFile::new_in(dir)?;
        fs::write(file.path(), content)?;
        fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Sets up what is missing and makes again what has changed.
pub fn ensure() -> Result<Sdk> {
    ensure_with(false)
}

fn ensure_with(yes: bool) -> Result<Sdk> {
    let generated = paths::generated();
    fs::create_dir_all(&generated)
        .with_context(|| format!("cannot create {}", generated.display()))?;
    // Two builds at once wait for each other.
    let lock =
        fs::File::create(generated.join("lock")).context("cannot create the SDK's lock file")?;
    lock.lock().context("cannot lock the SDK")?;

    let tools = packages::ensure(yes)?;
    let toolchain = tools.toolchain;
    let root = paths::sdk();
    let mut keys = Keys::read();
    let library = sysroot::make(&mut keys, &root, &toolchain, &tools.linker)?;
    let kernel_object = kernel::object(&mut keys, &root, &toolchain, &tools.linker)?;
    let loader = kernel::loader(&mut keys, &root, &toolchain, &tools.linker)?;
    let manifest = Manifest {
        rustc: toolchain.rustc.clone(),
        nightly: toolchain.nightly,
        library,
        kernel: kernel_object.clone(),
        linker: tools.linker,
        crates: Catalogue::own()?.versions(),
    };
    replace(&root.join("skete.json"), serde_json::to_string_pretty(&manifest)?.as_bytes())?;
    wrappers(&mut keys, &root, &manifest.library)?;
    patches::refresh(&root)?;
    Ok(Sdk {
        rustc: root.join("bin/rustc"),
        rustdoc: root.join("bin/rustdoc"),
        runner: root.join("bin/skete-run"),
        loader,
        kernel_object,
        root,
    })
}

/// Puts copies of this program into the SDK under the names by which it acts as the compiler, the
/// linker and the runner. Cargo asks a compiler for its version only when its file is new, so a changed
/// library needs new copies as well.
fn wrappers(keys: &mut Keys, root: &Path, library: &str) -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let bin = root.join("bin");
    let paths = ["rustc", "rustdoc", "skete-run", linker::NAME].map(|name| bin.join(name));
    if program.file_name().is_none_or(|name| name != "xtask") {
        return match paths.iter().find(|path| !path.exists()) {
            Some(path) => bail!("{} is missing; run `cargo xtask setup`", path.display()),
            None => Ok(()),
        };
    }
    let key = crate::hash::Key::new("wrappers").text(library).stamps(&program)?.finish();
    let outputs = paths.each_ref().map(PathBuf::as_path);
    keys.step("wrappers", &key, &outputs, || {
        fs::create_dir_all(&bin)?;
        for path in &paths {
            let new = path.with_extension("new");
            let _ = fs::remove_file(&new);
            match path.file_name() {
                Some(name) if name == "rustc" => fs::copy(&program, &new).map(drop),
                _ => fs::hard_link(&paths[0], &new),
            }
            .and_then(|()| fs::rename(&new, path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    })
}
