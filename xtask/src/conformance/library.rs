//! The test suites of Rust's standard library, built from the SDK's copy of its source.
//!
//! The prebuilt library is what is tested: the suites are compiled against it, never against a
//! second one. So the manifests that name the library's own crates as dependencies are replaced,
//! and std's unit tests, which are a second std, find those crates in the SDK.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Item, Table, value};
use walkdir::WalkDir;

use super::programs::{self, Program};
use super::show::Show;
use crate::hash::Key;
use crate::sdk::{Sdk, TARGET};
use crate::{overlay, paths, sysroot};

/// The suites' names.
pub const SUITES: [&str; 3] = ["coretests", "alloctests", "std"];

/// The suite of which the short selection has the integration tests.
pub const SHORT: &str = "std";

/// Parts of the source that no suite needs.
const UNUSED: [&str; 2] = ["vendor", "stdarch/crates/stdarch-gen-arm"];

/// The library's source, ready for the suites.
pub struct Library {
    root: PathBuf,
    target_dir: PathBuf,
    /// The crates that std is made of, as the compiler calls them.
    parts: Vec<String>,
}

impl Library {
    /// Copies the source and changes what the suites need changed (`conformance/changes/`).
    pub fn prepare(sdk: &Sdk, show: &Show) -> Result<Library> {
        let source = sdk.root.join("lib/rustlib/src/rust/library");
        let changes = paths::root().join("conformance/changes");
        let generated = paths::generated().join("conformance");
        let root = generated.join("library");
        let manifest = crate::sdk::Manifest::read(&sdk.root)?;
        let key = Key::new("suites")
            .text(include_str!("library.rs"))
            .text(&manifest.library)
            .content(&changes)?
            .finish();
        let stamp = generated.join("library.key");
        if !fs::read_to_string(&stamp).is_ok_and(|old| old == key) || !root.is_dir() {
            let step = show.step("copying the standard library's tests");
            let _ = fs::remove_file(&stamp);
            copy(&source, &root)?;
            overlay::apply(&changes, &root, release(sdk)?)?;
            workspace(&root)?;
            fs::write(&stamp, &key).context("cannot mark the copy as whole")?;
            step.done();
        }
        Ok(Library {
            parts: parts(sdk, &source)?,
            target_dir: generated.join("build/library"),
            root,
        })
    }

    /// Builds a suite's test programs; only the integration tests when `short`.
    pub fn build(&self, sdk: &Sdk, suite: &str, short: bool, show: &Show) -> Result<Vec<Program>> {
        let step = show.step(format!("building the tests of {suite}"));
        let cargo = |verb: &str, package: &str| {
            let mut cargo = programs::cargo(sdk, verb);
            cargo
                .args(["--package", package])
                .arg("--manifest-path")
                .arg(self.root.join("Cargo.toml"))
                .arg("--target-dir")
                .arg(&self.target_dir)
                // The library's crates use unstable features.
                .env("RUSTC_BOOTSTRAP", "1")
                .current_dir(&self.root);
            cargo
        };
        let programs = match suite {
            "std" => {
                // With leave to use what no feature gives.
                let flags = format!("{} -Zforce-unstable-if-unmarked", programs::FLAGS);
                let mut integration = cargo("test", "stdtests");
                integration.arg("--no-run").env("RUSTFLAGS", &flags);
                let mut programs = programs::build(&mut integration, &step)?;
                if short {
                    step.done();
                    return Ok(programs);
                }
                let mut unit = cargo("rustc", "std");
                unit.env("RUSTFLAGS", &flags);
                unit.args(["--lib", "--profile", "test", "--"]);
                unit.args(self.parts.iter().flat_map(|part| ["--extern", part]));
                programs.extend(programs::build(&mut unit, &step)?);
                programs
            }
            _ => {
                programs::build(cargo("test", suite).args(["--no-run", "--lib", "--tests"]), &step)?
            }
        };
        step.done();
        Ok(programs)
    }
}

/// The release of the compiler behind the SDK.
pub fn release(sdk: &Sdk) -> Result<crate::toolchain::Release> {
    let mut rustc = std::process::Command::new(&sdk.rustc);
    let version = crate::process::output(rustc.arg("-vV"))?;
    let release = version.lines().find_map(|line| line.strip_prefix("release: "));
    release
        .context("the compiler does not tell its release")?
        .parse()
        .context("the compiler's release is none")
}

/// Copies the library's source; what is unchanged keeps its time, so that it is not compiled again.
fn copy(source: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    let wanted = |path: &Path| {
        let path = path.strip_prefix(source).unwrap_or(path);
        !UNUSED.iter().any(|unused| path.starts_with(unused))
    };
    let entries = WalkDir::new(source).into_iter();
    for entry in entries.filter_entry(|entry| wanted(entry.path())) {
        let entry = entry.with_context(|| format!("cannot list {}", source.display()))?;
        let target = to.join(entry.path().strip_prefix(source)?);
        let copied = match entry.file_type().is_dir() {
            true => fs::create_dir_all(&target).map_err(Into::into),
            false => sysroot::copy_file(entry.path(), &target),
        };
        copied.with_context(|| format!("cannot copy {}", entry.path().display()))?;
    }
    Ok(())
}

/// Turns the copy into a workspace of its suites.
fn workspace(root: &Path) -> Result<()> {
    let read = |name: &str| -> Result<DocumentMut> {
        let path = root.join(name);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text.parse().with_context(|| format!("{} is no manifest", path.display()))
    };
    let write = |name: &str, text: String| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(root))
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    write(
        "Cargo.toml",
        "[workspace]\nresolver = \"2\"\nmembers = [\"coretests\", \"alloctests\", \"std\", \"stdtests\"]\n"
            .to_owned(),
    )?;
    let std = read("std/Cargo.toml")?;
    write("std/Cargo.toml", unit_tests(std.clone()).to_string())?;
    let files = fs::read_dir(root.join("std/tests")).context("std has no tests")?;
    let mut names = BTreeSet::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.insert(name.to_owned());
        }
    }
    write("stdtests/Cargo.toml", integration_tests(&std, &names).to_string())
}

/// std's manifest without its dependencies: its unit tests find them in the SDK.
fn unit_tests(mut manifest: DocumentMut) -> DocumentMut {
    for key in ["dependencies", "target", "test", "bench", "cargo-features"] {
        manifest.remove(key);
    }
    manifest["package"]["autotests"] = value(false);
    if let Some(library) = manifest["lib"].as_table_mut() {
        library.remove("crate-type");
    }
    if let Some(features) = manifest["features"].as_table_mut() {
        let names = features.iter().map(|(name, _)| name.to_owned());
        for name in names.collect::<Vec<_>>() {
            features[&name] = value(toml_edit::Array::new());
        }
        // As the prebuilt library has them.
        let default = ["backtrace", "panic-unwind"].into_iter().collect();
        features["default"] = value::<toml_edit::Array>(default);
    }
    manifest
}

/// A package of std's integration tests alone, so that they use the prebuilt std. `files` are the
/// names of those that lie directly in `std/tests`.
fn integration_tests(std: &DocumentMut, files: &BTreeSet<String>) -> DocumentMut {
    let mut manifest = DocumentMut::new();
    manifest["package"] = Item::Table(Table::new());
    manifest["package"]["name"] = value("stdtests");
    manifest["package"]["version"] = value("0.0.0");
    manifest["package"]["edition"] = std["package"]["edition"].clone();
    manifest["dev-dependencies"] = std["dev-dependencies"].clone();
    let mut tests = toml_edit::ArrayOfTables::new();
    let mut listed = BTreeSet::new();
    for test in std["test"].as_array_of_tables().into_iter().flatten() {
        let mut test = test.clone();
        let path = test.get("path").and_then(Item::as_str).unwrap_or_default();
        listed.insert(path.to_owned());
        let path = format!("../std/{path}");
        test["path"] = value(path);
        tests.push(test);
    }
    for name in files {
        let path = format!("tests/{name}.rs");
        if listed.contains(&path) {
            continue;
        }
        let mut test = Table::new();
        test["name"] = value(name);
        test["path"] = value(format!("../std/{path}"));
        tests.push(test);
    }
    manifest["test"] = Item::ArrayOfTables(tests);
    manifest
}

/// The crates that std depends on, as far as they are in the SDK.
fn parts(sdk: &Sdk, source: &Path) -> Result<Vec<String>> {
    let path = source.join("std/Cargo.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: toml::Table =
        toml::from_str(&text).with_context(|| format!("{} is no manifest", path.display()))?;
    let library = sdk.root.join("lib/rustlib").join(TARGET).join("lib");
    let mut prebuilt = BTreeSet::new();
    for file in
        fs::read_dir(&library).with_context(|| format!("cannot list {}", library.display()))?
    {
        let name = file?.file_name();
        let name = name.to_string_lossy();
        if let Some((name, _)) = name.strip_prefix("lib").and_then(|name| name.rsplit_once('-')) {
            prebuilt.insert(name.to_owned());
        }
    }
    let targets = manifest.get("target").and_then(|target| target.as_table());
    let tables = targets.into_iter().flat_map(|targets| targets.values());
    let tables =
        tables.filter_map(|target| target.get("dependencies")).chain(manifest.get("dependencies"));
    let names = tables
        .filter_map(|table| table.as_table())
        .flat_map(|table| table.keys())
        .map(|name| name.replace('-', "_"));
    let names = names.filter(|name| prebuilt.contains(name));
    Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STD: &str = r#"cargo-features = ["public-dependency"]

[package]
name = "std"
edition = "2024"

[lib]
crate-type = ["dylib", "rlib"]

[dependencies]
core = { path = "../core" }

[target.'cfg(unix)'.dependencies]
libc = "0.2"

[dev-dependencies]
rand = "0.9"

[features]
backtrace = ["dep:object"]
panic-unwind = ["dep:panic_unwind"]

[[test]]
name = "sync"
path = "tests/sync/lib.rs"

[[test]]
name = "pipe-subprocess"
path = "tests/pipe_subprocess.rs"
harness = false
"#;

    #[test]
    fn unit_tests_have_no_second_library() -> Result<()> {
        let manifest: toml::Table = toml::from_str(&unit_tests(STD.parse()?).to_string())?;
        assert!(!manifest.contains_key("dependencies") && !manifest.contains_key("target"));
        assert!(manifest.contains_key("dev-dependencies"));
        let features = &manifest["features"];
        assert_eq!(features["backtrace"].as_array().map(Vec::len), Some(0));
        assert_eq!(features["default"].as_array().map(Vec::len), Some(2));
        Ok(())
    }

    #[test]
    fn every_integration_test_is_named_once() -> Result<()> {
        let files = ["env", "pipe_subprocess"].map(str::to_owned).into();
        let manifest = integration_tests(&STD.parse()?, &files).to_string();
        let manifest: toml::Table = toml::from_str(&manifest)?;
        let tests = manifest["test"].as_array().cloned().unwrap_or_default();
        let paths = tests.iter().filter_map(|test| test["path"].as_str());
        assert_eq!(
            paths.collect::<Vec<_>>(),
            ["../std/tests/sync/lib.rs", "../std/tests/pipe_subprocess.rs", "../std/tests/env.rs"]
        );
        assert_eq!(tests[1]["harness"].as_bool(), Some(false));
        Ok(())
    }
}
