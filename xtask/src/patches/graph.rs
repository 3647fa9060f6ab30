//! Which crates of the registry a program uses on our target, as `cargo metadata` tells it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use semver::Version;
use serde::Deserialize;

use crate::process;
use crate::sdk::{Sdk, TARGET};

/// The registry whose crates we change.
pub const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate of the registry.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Where cargo has put its source.
    pub source: PathBuf,
}

/// The registry's crates in the dependency graph of the workspace in `directory`, with every
/// feature of its members. Cargo fetches what is not there yet, and writes a missing Cargo.lock.
pub fn packages(sdk: &Sdk, directory: &Path, target_dir: &Path) -> Result<Vec<Package>> {
    let mut cargo = process::cargo();
    cargo
        .args(["metadata", "--format-version", "1", "--all-features"])
        .args(["--filter-platform", TARGET, "--color", "never"])
        .current_dir(directory)
        .env("RUSTC", &sdk.rustc)
        .env("CARGO_TARGET_DIR", target_dir);
    let text = process::output(&mut cargo)
        .with_context(|| format!("cargo cannot tell what {} depends on", directory.display()))?;
    read(&text)
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Entry>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    name: String,
    version: Version,
    source: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

fn read(text: &str) -> Result<Vec<Package>> {
    let metadata: Metadata = serde_json::from_str(text)
        .context("`cargo metadata` wrote something else than expected")?;
    let used: BTreeSet<&str> = metadata.resolve.nodes.iter().map(|node| node.id.as_str()).collect();
    let of_registry = metadata.packages.iter().filter(|entry| {
        used.contains(entry.id.as_str()) && entry.source.as_deref() == Some(REGISTRY)
    });
    let package = |entry: &Entry| {
        let source = entry.manifest_path.parent().context("a manifest without a directory")?;
        Ok(Package {
            name: entry.name.clone(),
            version: entry.version.clone(),
            source: source.to_path_buf(),
        })
    };
    of_registry.map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_used_crates_of_the_registry_count() -> Result<()> {
        let entry = |id: &str, source: &str| {
            format!(
                r#"{{"id": "{id}", "name": "{id}", "version": "1.2.3", "source": {source}, "manifest_path": "/r/{id}-1.2.3/Cargo.toml", "targets": []}}"#
            )
        };
        let registry = format!("{REGISTRY:?}");
        let text = format!(
            r#"{{"packages": [{}, {}, {}, {}], "resolve": {{"root": null, "nodes": [{{"id": "used", "deps": []}}, {{"id": "own"}}, {{"id": "git"}}]}}}}"#,
            entry("used", &registry),
            entry("own", "null"),
            entry("git", "\"git+https://example.org/git\""),
            entry("elsewhere", &registry),
        );
        assert_eq!(
            read(&text)?,
            [Package {
                name: "used".into(),
                version: "1.2.3".parse()?,
                source: "/r/used-1.2.3".into(),
            }]
        );
        assert!(read("{}").is_err());
        Ok(())
    }
}
