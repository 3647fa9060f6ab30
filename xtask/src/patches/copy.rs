//! Changed crates in the SDK: `sdk/crates/NAME-VERSION`.
//!
//! Each directory is the released source with our changes applied. A file in it tells what it was
//! made from; when our changes to the crate are other ones, it is made again in the same place, so
//! that every program that uses it finds the new one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use semver::Version;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::catalogue::{Catalogue, Offer};

/// What a changed crate was made from (`skete.json` in its directory).
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    name: String,
    version: Version,
    /// The released source, in cargo's registry.
    source: PathBuf,
    /// The key of our changes.
    key: String,
}

const ORIGIN: &str = "skete.json";

impl Origin {
    fn read(copy: &Path) -> Option<Origin> {
        serde_json::from_slice(&fs::read(copy.join(ORIGIN)).ok()?).ok()
    }
}

/// Makes the changed crate from the released source in `source`, and gives its directory.
pub fn make(sdk: &Path, offer: &Offer, version: &Version, source: &Path) -> Result<PathBuf> {
    let all = sdk.join("crates");
    let copy = all.join(format!("{}-{version}", offer.name()));
    let origin = Origin {
        name: offer.name().to_owned(),
        version: version.clone(),
        source: source.to_path_buf(),
        key: offer.key()?,
    };
    if Origin::read(&copy).is_some_and(|made| made == origin) {
        return Ok(copy);
    }
    fs::create_dir_all(&all).with_context(|| format!("cannot create {}", all.display()))?;
    let new = tempfile::Builder::new()
        .prefix("new-")
        .tempdir_in(&all)
        .with_context(|| format!("cannot create a directory in {}", all.display()))?;
    copy_tree(source, new.path()).with_context(|| format!("cannot copy {}", source.display()))?;
    offer.apply(version, new.path())?;
    fs::write(new.path().join(ORIGIN), serde_json::to_string_pretty(&origin)?)?;
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    }
    fs::rename(new.path(), &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(copy)
}

/// Makes the changed crates of the SDK in `sdk` again whose changes are other ones now. One that
/// cannot be made is taken away: the programs that use it say so, and no old one stays in use.
pub fn refresh(sdk: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(sdk.join("crates")) else {
        return Ok(());
    };
    let catalogue = Catalogue::own()?;
    for entry in entries {
        let copy = entry?.path();
        let Some(origin) = Origin::read(&copy) else {
            continue;
        };
        let made = match catalogue.offer(&origin.name) {
            Some(offer) if offer.fits(&origin.version) && origin.source.is_dir() => {
                make(sdk, offer, &origin.version, &origin.source).map(|_| true)
            }
            _ => Ok(false),
        };
        if !matches!(made, Ok(true)) {
            fs::remove_dir_all(&copy)
                .with_context(|| format!("cannot remove {}", copy.display()))?;
        }
        made?;
    }
    Ok(())
}

/// Copies a released crate, without what cargo wrote beside it.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(from).min_depth(1) {
        let entry = entry?;
        let relative = entry.path().strip_prefix(from)?;
        let target = to.join(relative);
        if entry.file_type().is_dir() {
            fs::create_dir(&target)?;
        } else if ![".cargo-ok", ".cargo_vcs_info.json", "Cargo.toml.orig"]
            .iter()
            .any(|name| relative == Path::new(name))
        {
            fs::copy(entry.path(), &target)?;
        }
    }
    // The program's workspace does not count this one among its members.
    let manifest = to.join("Cargo.toml");
    let mut text = fs::read_to_string(&manifest)?;
    text.push_str("\n[workspace]\n");
    fs::write(&manifest, text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) -> Result<()> {
        fs::create_dir_all(path.parent().context("a path")?)?;
        Ok(fs::write(path, text)?)
    }

    fn changes(replacement: &str) -> String {
        format!(
            "versions = \"1\"\nfile = \"src/lib.rs\"\n\n[[change]]\nreason = \"r\"\nanchor = \"one\"\nreplacement = \"{replacement}\"\n"
        )
    }

    #[test]
    fn a_copy_follows_its_changes() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let [sdk, source, crates] =
            ["sdk", "a-1.2.3", "crates"].map(|name| directory.path().join(name));
        write(&source.join("Cargo.toml"), "[package]\nname = \"a\"\n")?;
        write(&source.join("Cargo.toml.orig"), "")?;
        write(&source.join("src/lib.rs"), "one")?;
        let version: Version = "1.2.3".parse()?;
        for replacement in ["two", "three"] {
            write(&crates.join("a/lib.toml"), &changes(replacement))?;
            let catalogue = Catalogue::read(&crates)?;
            let offer = catalogue.offer("a").context("an offer")?;
            let copy = make(&sdk, offer, &version, &source)?;
            assert_eq!(copy, sdk.join("crates/a-1.2.3"));
            assert_eq!(fs::read_to_string(copy.join("src/lib.rs"))?, replacement);
            assert!(fs::read_to_string(copy.join("Cargo.toml"))?.ends_with("[workspace]\n"));
            assert!(!copy.join("Cargo.toml.orig").exists());
            // The second time nothing is written.
            fs::write(copy.join("mark"), "")?;
            make(&sdk, offer, &version, &source)?;
            assert!(copy.join("mark").exists());
        }
        let names: Vec<_> = fs::read_dir(sdk.join("crates"))?.flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(fs::read_to_string(source.join("src/lib.rs"))?, "one");
        Ok(())
    }

    #[test]
    fn a_failure_leaves_no_half_of_a_copy() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let [sdk, source, crates] =
            ["sdk", "a-1.2.3", "crates"].map(|name| directory.path().join(name));
        write(&source.join("Cargo.toml"), "")?;
        write(&source.join("src/lib.rs"), "zero")?;
        write(&crates.join("a/lib.toml"), &changes("two"))?;
        let catalogue = Catalogue::read(&crates)?;
        let offer = catalogue.offer("a").context("an offer")?;
        assert!(make(&sdk, offer, &"1.2.3".parse()?, &source).is_err());
        assert_eq!(fs::read_dir(sdk.join("crates"))?.count(), 0);
        Ok(())
    }

    #[test]
    fn what_has_no_changes_any_more_goes() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let copy = directory.path().join("crates/no-such-crate-1.0.0");
        let origin = Origin {
            name: "no-such-crate".into(),
            version: "1.0.0".parse()?,
            source: directory.path().to_path_buf(),
            key: String::new(),
        };
        write(&copy.join(ORIGIN), &serde_json::to_string(&origin)?)?;
        refresh(directory.path())?;
        assert!(!copy.exists());
        refresh(&directory.path().join("none"))
    }
}
