//! The SDK's `rustc` and `rustdoc`: the real ones, told about the SDK.
//!
//! - Both get `--sysroot`, and for our target leave to read its specification.
//! - A program for our target is linked with the kernel object, and the object is added to the
//!   program's dependency file, so that cargo links again when the kernel changes. So is the initial
//!   file tree that the environment asks for.
//! - `rustc -vV` gives one more line with the keys of the prebuilt library and of how programs are
//!   linked. Cargo builds everything again when that output changes.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use semver::Version;

use crate::root::baked::Baked;
use crate::sdk::{Manifest, TARGET};
use crate::sysroot::{self, Panic};
use crate::{linker, process};

/// Acts as `rustc`.
pub fn rustc() -> Result<ExitCode> {
    let sdk = Sdk::find()?;
    let (args, call) = sdk.call();
    let mut rustc = Command::new(&sdk.manifest.rustc);
    sdk.prepare(&mut rustc, &call);
    if call.version {
        let output = rustc.args(&args).output().context("cannot start rustc")?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        println!("skete: {} {}", sdk.manifest.library, linker::KEY);
        return Ok(ExitCode::from(u8::from(!output.status.success())));
    }
    if let Some(released) = call.released(|name| std::env::var(name).ok())
        && released.needs_changes(&sdk.manifest)
    {
        bail!(
            "{released} does not work on {TARGET} as released, and Skete has a changed one: run `cargo xtask init PROGRAM` again in Skete's directory, for this program's"
        );
    }
    if !call.program {
        return Err(rustc.args(&args).exec())
            .with_context(|| format!("cannot start {}", sdk.manifest.rustc.display()));
    }
    let mut link = OsString::from("-Clink-arg=");
    link.push(&sdk.manifest.kernel);
    let mut linker = OsString::from("-Clinker=");
    linker.push(sdk.root.join("bin").join(linker::NAME));
    let baked = Baked::from_environment()?;
    let status = rustc.arg(linker).arg(link).args(baked.arguments()).args(&args).status();
    let status =
        status.with_context(|| format!("cannot start {}", sdk.manifest.rustc.display()))?;
    if status.success()
        && let Some(path) = call.dependencies()
        && let Ok(text) = fs::read_to_string(&path)
    {
        let mut inputs = baked.inputs();
        inputs.push(sdk.manifest.kernel.clone());
        let mut text = add_dependencies(&text, &inputs);
        text.push_str(&baked.variable_line());
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(process::exit_code(status))
}

/// Acts as `rustdoc`, which comes with the compiler and lies beside it.
pub fn rustdoc() -> Result<ExitCode> {
    let sdk = Sdk::find()?;
    let (args, call) = sdk.call();
    let rustc = sdk.manifest.rustc.file_name().and_then(OsStr::to_str).unwrap_or("rustc");
    let program = sdk.manifest.rustc.with_file_name(rustc.replacen("rustc", "rustdoc", 1));
    let mut rustdoc = Command::new(&program);
    sdk.prepare(&mut rustdoc, &call);
    if call.ours
        && args.iter().any(|arg| arg == "--test")
        && !args.iter().any(|arg| arg == "--test-builder")
    {
        // Examples in documentation are programs too.
        rustdoc.arg("--test-builder").arg(sdk.root.join("bin/rustc"));
    }
    Err(rustdoc.args(&args).exec()).with_context(|| format!("cannot start {}", program.display()))
}

/// The SDK that this program lies in.
pub struct Sdk {
    root: PathBuf,
    /// What it is made of.
    pub manifest: Manifest,
}

impl Sdk {
    /// Finds it by this program's own file.
    pub fn find() -> Result<Sdk> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let root = program
            .ancestors()
            .nth(2)
            .context("this program does not lie in an SDK")?
            .to_path_buf();
        let manifest = Manifest::read(&root)?;
        Ok(Sdk { root, manifest })
    }

    /// This process's arguments, with the target's name replaced by the path of its specification.
    fn call(&self) -> (Vec<OsString>, Call) {
        let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
        let call = Call::read(&args);
        if let Some(index) = args
            .iter()
            .position(|arg| arg == TARGET || arg == format!("--target={TARGET}").as_str())
            && call.ours
        {
            let joined = args[index] != TARGET;
            args[index] = if joined { "--target=".into() } else { OsString::new() };
            args[index].push(sysroot::specification(&self.root));
        }
        (args, call)
    }

    fn prepare(&self, command: &mut Command, call: &Call) {
        if !call.sysroot {
            let panic = match call.abort {
                true => Panic::Abort,
                false => Panic::Unwind,
            };
            command.arg("--sysroot").arg(panic.sysroot(&self.root));
        }
        if call.source.as_ref().is_some_and(|file| file.starts_with(self.root.join("crates"))) {
            // Somebody else's crate, though cargo takes it for one of the program's own.
            command.arg("--cap-lints=allow");
        }
        if !call.ours {
            return;
        }
        command.arg("-Zunstable-options");
        if !self.manifest.nightly && std::env::var_os("RUSTC_BOOTSTRAP").is_none() {
            command.env("RUSTC_BOOTSTRAP", "1");
            // The specification needs an unstable option. The program itself is compiled by a
            // stable compiler, and finds none but stable features when it probes for them.
            if !call.library {
                command.arg("-Zallow-features=");
            }
        }
    }
}

/// What a call of the compiler is about.
#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    /// It asks for everything about the version, as cargo does. The one line of `--version` stays as it is:
    /// build scripts read it.
    version: bool,
    /// It is for our target.
    ours: bool,
    /// It makes a program for our target.
    program: bool,
    /// It compiles the standard library itself.
    library: bool,
    /// It names a sysroot.
    sysroot: bool,
    /// A panic is to end the program (`panic = "abort"`).
    abort: bool,
    /// The crate's root file.
    source: Option<PathBuf>,
    name: Option<String>,
    extra: String,
    out: Option<PathBuf>,
}

impl Call {
    fn read(args: &[OsString]) -> Call {
        let mut call = Call::default();
        let mut kinds = Vec::new();
        let mut rest = args.iter().map(|arg| arg.to_string_lossy());
        while let Some(arg) = rest.next() {
            let mut option = |name: &str| match arg.strip_prefix(name) {
                Some("") => rest.next().map(|value| value.into_owned()),
                Some(value) if name.len() == 2 => Some(value.to_owned()),
                Some(value) => value.strip_prefix('=').map(str::to_owned),
                None => None,
            };
            if let Some(target) = option("--target") {
                let stem =
                    Path::new(&target).file_stem().and_then(OsStr::to_str).map(str::to_owned);
                call.ours = target == TARGET || stem.as_deref() == Some(TARGET);
            } else if let Some(kind) = option("--crate-type") {
                kinds.push(kind);
            } else if let Some(name) = option("--crate-name") {
                call.name = Some(name);
            } else if let Some(dir) = option("--out-dir") {
                call.out = Some(PathBuf::from(dir));
            } else if option("--sysroot").is_some() {
                call.sysroot = true;
            } else if let Some(value) = option("-C").or_else(|| option("--codegen")) {
                if let Some(extra) = value.strip_prefix("extra-filename=") {
                    call.extra = extra.to_owned();
                } else if let Some(panic) = value.strip_prefix("panic=") {
                    call.abort = panic != "unwind";
                }
            } else if arg == "-vV" {
                call.version = true;
            } else if arg == "--test" {
                kinds.push("bin".to_owned());
            } else if arg.ends_with(".rs") {
                call.library = arg.contains("/lib/rustlib/src/rust/library/");
                call.source = Some(PathBuf::from(arg.as_ref()));
            }
        }
        let bin = kinds.is_empty() || kinds.iter().any(|kind| kind == "bin");
        call.program = call.ours && bin;
        // Build scripts and procedural macros run on the host, with the host's own library.
        call.abort &= call.ours;
        call
    }

    /// The crate that the call compiles for our target, if its source is the registry's. `variable`
    /// reads cargo's environment variables.
    fn released(&self, variable: impl Fn(&str) -> Option<String>) -> Option<Released> {
        let source = self.source.as_ref().filter(|_| self.ours)?;
        let mut parts = source.components().map(|part| part.as_os_str());
        parts.find(|part| *part == "registry")?;
        parts.next().filter(|part| *part == "src")?;
        Some(Released {
            name: variable("CARGO_PKG_NAME")?,
            version: variable("CARGO_PKG_VERSION")?.parse().ok()?,
        })
    }

    /// The dependency file that the call writes.
    fn dependencies(&self) -> Option<PathBuf> {
        Some(self.out.as_ref()?.join(format!("{}{}.d", self.name.as_ref()?, self.extra)))
    }
}

/// A crate as the registry has it.
#[derive(Debug, PartialEq, Eq)]
struct Released {
    name: String,
    version: Version,
}

impl Released {
    /// Whether it is one that we change before it is compiled.
    fn needs_changes(&self, manifest: &Manifest) -> bool {
        let versions = manifest.crates.get(&self.name);
        versions.is_some_and(|versions| versions.iter().any(|range| range.matches(&self.version)))
    }
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Adds files to every rule of a dependency file in make's format.
fn add_dependencies(text: &str, files: &[PathBuf]) -> String {
    let escaped = |file: &PathBuf| file.to_string_lossy().replace(' ', "\\ ");
    let files = files.iter().map(escaped).collect::<Vec<_>>().join(" ");
    let add = |line: &str| match line.contains(": ") && !line.starts_with('#') {
        true => format!("{line} {files}\n"),
        false => format!("{line}\n"),
    };
    text.lines().map(add).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Call {
        Call::read(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_program_for_our_target_is_told_from_the_rest() {
        assert!(
            call("--crate-name a src/main.rs --crate-type bin --target x86_64-unknown-skete")
                .program
        );
        assert!(call("--crate-name a src/lib.rs --test --target=x86_64-unknown-skete").program);
        assert!(call("--crate-type=bin --target /t/x86_64-unknown-skete.json a.rs").program);
        assert!(
            !call("--crate-name a src/lib.rs --crate-type lib --target x86_64-unknown-skete")
                .program
        );
        assert!(!call("--crate-name a src/main.rs --crate-type bin").program);
        assert!(
            !call("--crate-name a src/main.rs --crate-type bin --target x86_64-unknown-linux-gnu")
                .ours
        );
        assert!(call("-vV").version);
        assert!(!call("--version").version);
    }

    #[test]
    fn the_dependency_file_is_found() {
        let call = call(
            "--crate-name app src/main.rs --out-dir /t/deps -C extra-filename=-1f -Copt-level=3",
        );
        assert_eq!(call.dependencies(), Some(PathBuf::from("/t/deps/app-1f.d")));
        assert_eq!(Call::read(&["-".into()]).dependencies(), None);
    }

    #[test]
    fn the_library_fits_what_a_panic_does() {
        let target = "--target x86_64-unknown-skete";
        assert!(call(&format!("-C panic=abort a.rs {target}")).abort);
        assert!(call(&format!("-Cpanic=abort a.rs {target}")).abort);
        assert!(!call(&format!("-C panic=unwind a.rs {target}")).abort);
        assert!(!call(&format!("a.rs {target}")).abort);
        assert!(!call("-C panic=abort build.rs").abort);
    }

    #[test]
    fn a_crate_of_the_registry_is_told_from_a_changed_one() -> Result<()> {
        let cargo = |name: &str| {
            Some(String::from(match name {
                "CARGO_PKG_NAME" => "socket2",
                _ => "0.6.1",
            }))
        };
        let line = "--crate-name socket2 /c/registry/src/index-1f/socket2-0.6.1/src/lib.rs --target x86_64-unknown-skete";
        let released = call(line).released(cargo).context("a crate")?;
        assert_eq!(released.to_string(), "socket2 0.6.1");
        assert_eq!(call(line).released(|_| None), None);
        for line in [
            "--crate-name socket2 /c/registry/src/index-1f/socket2-0.6.1/src/lib.rs",
            "--crate-name socket2 /sdk/crates/socket2-0.6.1/src/lib.rs --target x86_64-unknown-skete",
            "--crate-name app registry/lib/src/main.rs --target x86_64-unknown-skete",
        ] {
            assert_eq!(call(line).released(cargo), None, "{line}");
        }
        let mut manifest = Manifest {
            rustc: PathBuf::new(),
            nightly: false,
            library: String::new(),
            kernel: PathBuf::new(),
            linker: PathBuf::new(),
            crates: [("socket2".to_owned(), vec![">=0.6.2, <0.7".parse()?])].into(),
        };
        assert!(!released.needs_changes(&manifest));
        manifest.crates.insert("socket2".to_owned(), vec!["0.5".parse()?, "0.6".parse()?]);
        assert!(released.needs_changes(&manifest));
        Ok(())
    }

    #[test]
    fn the_library_itself_may_use_its_features() {
        assert!(call("--crate-name std /sdk/lib/rustlib/src/rust/library/std/src/lib.rs").library);
        assert!(!call("--crate-name std src/lib.rs").library);
    }

    #[test]
    fn a_dependency_is_added_to_rules_only() {
        let text = "a.d: src/main.rs\n\na: src/main.rs\n\nsrc/main.rs:\n\n# env-dep:X=a: b\n";
        let with = "a.d: src/main.rs /k\\ 1.o /r\n\na: src/main.rs /k\\ 1.o /r\n\nsrc/main.rs:\n\n# env-dep:X=a: b\n";
        let files = ["/k 1.o", "/r"].map(PathBuf::from);
        assert_eq!(add_dependencies(text, &files), with);
    }
}
