//! Crates of the registry that need a change of ours before they build for, or work in, an image.
//!
//! The changes lie in `std-shim/crates/NAME/`. A program is given the changed crates through cargo's
//! `[patch.crates-io]`, so that its manifest stays as it is: `cargo xtask init` writes the table
//! into the program's `.cargo/config.toml`, `cargo xtask build` passes it on the command line.

mod catalogue;
mod copy;
mod graph;
pub mod lock;

use std::path::{Path, PathBuf};

use anyhow::Result;
use semver::Version;

pub use self::catalogue::Catalogue;
pub use self::copy::{copy_tree, refresh};
use crate::sdk::Sdk;

/// A changed crate that a program uses in the place of the registry's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The crate's name.
    pub name: String,
    /// Its version, the one that the program's dependencies ask for.
    pub version: Version,
    /// Where the changed source lies.
    pub path: PathBuf,
    /// Its key below `[patch.crates-io]`: the name, with the version where there are several.
    pub key: String,
}

/// The changed crates for the program or workspace in `directory`, made in the SDK where they are
/// not there yet. Crates that the program replaces itself are left alone.
pub fn for_program(sdk: &Sdk, directory: &Path, target_dir: &Path) -> Result<Vec<Patch>> {
    let catalogue = Catalogue::own()?;
    let mut patches = Vec::new();
    for package in graph::packages(sdk, directory, target_dir)? {
        let Some(offer) = catalogue.offer(&package.name) else {
            continue;
        };
        if !offer.fits(&package.version) {
            eprintln!(
                "skete: warning: {0} {1} is taken as released: Skete has changes for {2} only; `cargo update {0}` may choose such a version",
                package.name,
                package.version,
                offer.versions()
            );
            continue;
        }
        let path = copy::make(&sdk.root, offer, &package.version, &package.source)?;
        patches.push(Patch {
            key: package.name.clone(),
            name: package.name,
            version: package.version,
            path,
        });
    }
    patches.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    name_keys(&mut patches);
    Ok(patches)
}

/// Two versions of one crate need two keys.
fn name_keys(patches: &mut [Patch]) {
    let names: Vec<String> = patches.iter().map(|patch| patch.name.clone()).collect();
    for patch in patches {
        if names.iter().filter(|name| **name == patch.name).count() > 1 {
            let version = patch.version.to_string().replace(['.', '+'], "-");
            patch.key = format!("{}-{version}", patch.name);
        }
    }
}

impl Patch {
    /// The entry below `[patch.crates-io]`.
    pub fn entry(&self) -> toml_edit::Value {
        let mut table = toml_edit::InlineTable::new();
        if self.key != self.name {
            table.insert("package", self.name.as_str().into());
        }
        table.insert("path", self.path.to_string_lossy().as_ref().into());
        table.into()
    }

    /// The same as arguments of cargo, which takes no table there.
    pub fn arguments(&self) -> Vec<String> {
        let fields = self.entry();
        let fields = fields.as_inline_table().into_iter().flatten();
        let settings =
            fields.map(|(field, value)| format!("patch.crates-io.{}.{field}={value}", self.key));
        settings.flat_map(|setting| ["--config".to_owned(), setting]).collect()
    }
}

/// The names and versions of crates in one line.
pub fn list(patches: &[Patch]) -> String {
    let names = patches.iter().map(|patch| format!("{} {}", patch.name, patch.version));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(name: &str, version: &str) -> Result<Patch> {
        Ok(Patch {
            name: name.into(),
            version: version.parse()?,
            path: format!("/my sdk/{name}").into(),
            key: name.into(),
        })
    }

    #[test]
    fn two_versions_of_a_crate_have_two_keys() -> Result<()> {
        let mut patches =
            [patch("ring", "0.17.14")?, patch("socket2", "0.5.10")?, patch("socket2", "0.6.5")?];
        name_keys(&mut patches);
        let arguments: Vec<String> = patches.iter().flat_map(Patch::arguments).collect();
        assert_eq!(
            arguments.join(" "),
            "--config patch.crates-io.ring.path=\"/my sdk/ring\" \
             --config patch.crates-io.socket2-0-5-10.package=\"socket2\" \
             --config patch.crates-io.socket2-0-5-10.path=\"/my sdk/socket2\" \
             --config patch.crates-io.socket2-0-6-5.package=\"socket2\" \
             --config patch.crates-io.socket2-0-6-5.path=\"/my sdk/socket2\""
        );
        Ok(())
    }
}
