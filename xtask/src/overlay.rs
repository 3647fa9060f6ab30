//! Our changes to Rust's standard library, applied to a copy of its source.
//!
//! When a new Rust release moves an anchor, setting up fails and says which one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::change::{self, Change};
use crate::toolchain::Release;

/// One file of changes (`std-shim/std/*.toml`).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    /// The file to change, below `library/`.
    file: PathBuf,
    /// The changes, in their order.
    change: Vec<Change>,
}

/// Applies every change file in `changes` to the copy of the library in `library`.
pub fn apply(changes: &Path, library: &Path, release: Release) -> Result<()> {
    let mut files = Vec::new();
    for entry in
        fs::read_dir(changes).with_context(|| format!("cannot list {}", changes.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    for file in files {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let changes: Changes = toml::from_str(&text)
            .with_context(|| format!("{} is not a file of changes", file.display()))?;
        let target = library.join(&changes.file);
        let source = fs::read_to_string(&target).with_context(|| {
            format!(
                "{} changes {}, which Rust {release} does not have",
                file.display(),
                changes.file.display()
            )
        })?;
        let changed = change::apply(&changes.change, &source).with_context(|| {
            format!(
                "{} does not fit library/{} of Rust {release}",
                file.display(),
                changes.file.display()
            )
        })?;
        fs::write(&target, changed)
            .with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGES: &str = r#"
        file = "std/src/lib.rs"

        [[change]]
        reason = "two is more"
        anchor = "fn one() {}"
        replacement = "fn two() {}"
    "#;

    fn library(source: &str) -> Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("changes"))?;
        fs::create_dir_all(dir.path().join("library/std/src"))?;
        fs::write(dir.path().join("library/std/src/lib.rs"), source)?;
        fs::write(dir.path().join("changes/lib.toml"), CHANGES)?;
        Ok(dir)
    }

    fn apply_to(source: &str) -> Result<String> {
        let dir = library(source)?;
        apply(&dir.path().join("changes"), &dir.path().join("library"), "1.96.0".parse()?)?;
        Ok(fs::read_to_string(dir.path().join("library/std/src/lib.rs"))?)
    }

    #[test]
    fn an_anchor_is_replaced() -> Result<()> {
        assert_eq!(apply_to("// a\nfn one() {}\n// b\n")?, "// a\nfn two() {}\n// b\n");
        Ok(())
    }

    #[test]
    fn a_moved_anchor_is_an_error_that_names_everything() {
        for (source, count) in
            [("fn three() {}", "0 times"), ("fn one() {} fn one() {}", "2 times")]
        {
            let error =
                apply_to(source).err().map(|error| format!("{error:#}")).unwrap_or_default();
            for part in ["lib.toml", "library/std/src/lib.rs", "1.96.0", "fn one() {}", count] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }

    #[test]
    fn a_missing_file_is_an_error() -> Result<()> {
        let dir = library("")?;
        fs::remove_file(dir.path().join("library/std/src/lib.rs"))?;
        let result =
            apply(&dir.path().join("changes"), &dir.path().join("library"), "1.96.0".parse()?);
        assert!(result.is_err_and(|error| error.to_string().contains("does not have")));
        Ok(())
    }

    /// A release that moved an anchor is found here before anybody's set-up fails.
    #[test]
    fn the_projects_own_changes_fit_every_library_of_this_machine() -> Result<()> {
        let own = crate::paths::root().join("std-shim/std");
        let mut files = Vec::new();
        for entry in fs::read_dir(&own)? {
            let changes: Changes = toml::from_str(&fs::read_to_string(entry?.path())?)?;
            let anchors = changes.change.iter().map(|change| change.anchor.trim());
            assert!(anchors.into_iter().all(|anchor| !anchor.is_empty()));
            files.push(changes.file);
        }
        assert!(!files.is_empty());
        for toolchain in crate::toolchain::usable() {
            let copy = tempfile::tempdir()?;
            for file in &files {
                let to = copy.path().join(file);
                fs::create_dir_all(to.parent().context("a file in a directory")?)?;
                fs::copy(toolchain.library.join(file), &to).with_context(|| {
                    format!("Rust {} has no {}", toolchain.release, file.display())
                })?;
            }
            apply(&own, copy.path(), toolchain.release)?;
        }
        Ok(())
    }
}
