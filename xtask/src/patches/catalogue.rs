//! The catalogue of our changes to crates: `std-shim/crates/NAME/*.toml`.
//!
//! Each file is about one file of one crate, in a range of its versions: either a list of changes by
//! anchor, or a file that is added whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::change::{self, Change};
use crate::hash::Key;
use crate::paths;

/// Our changes, by the name of the crate.
#[derive(Debug)]
pub struct Catalogue(BTreeMap<String, Offer>);

/// Our changes to one crate.
#[derive(Debug)]
pub struct Offer {
    name: String,
    directory: PathBuf,
    files: Vec<(PathBuf, Changed)>,
}

/// One file of changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    /// The versions of the crate that this is for, as in a manifest's dependencies.
    versions: VersionReq,
    /// The file to change or to add, below the crate's directory.
    file: PathBuf,
    /// The changes, in their order.
    #[serde(default)]
    change: Vec<Change>,
    /// The file to add, beside this one.
    add: Option<PathBuf>,
}

impl Catalogue {
    /// The project's own.
    pub fn own() -> Result<Catalogue> {
        Catalogue::read(&paths::root().join("std-shim/crates"))
    }

    /// Reads a catalogue's directory.
    pub fn read(directory: &Path) -> Result<Catalogue> {
        let mut offers = BTreeMap::new();
        for entry in fs::read_dir(directory)
            .with_context(|| format!("cannot list {}", directory.display()))?
        {
            let offer = Offer::read(entry?.path())?;
            offers.insert(offer.name.clone(), offer);
        }
        Ok(Catalogue(offers))
    }

    /// Our changes to the crate `name`.
    pub fn offer(&self, name: &str) -> Option<&Offer> {
        self.0.get(name)
    }

    /// The versions for which there are changes, by the name of the crate.
    pub fn versions(&self) -> BTreeMap<String, Vec<VersionReq>> {
        let versions = |offer: &Offer| {
            let all = offer.files.iter().map(|(_, changed)| &changed.versions);
            all.cloned().collect()
        };
        let offers = self.0.iter();
        offers.map(|(name, offer)| (name.clone(), versions(offer))).collect()
    }
}

impl Offer {
    fn read(directory: PathBuf) -> Result<Offer> {
        let name = directory.file_name().and_then(|name| name.to_str());
        let name = name
            .with_context(|| format!("{} is not named after a crate", directory.display()))?
            .to_owned();
        let mut files = Vec::new();
        for entry in fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?
        {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let changed: Changed = toml::from_str(&text)
                .with_context(|| format!("{} is not a file of changes", path.display()))?;
            if changed.change.is_empty() == changed.add.is_none() {
                bail!(
                    "{} needs either `[[change]]` tables or the name of a file to `add`",
                    path.display()
                );
            }
            files.push((path, changed));
        }
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Offer { name, directory, files })
    }

    /// The crate's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there are changes for this version.
    pub fn fits(&self, version: &Version) -> bool {
        self.files.iter().any(|(_, changed)| changed.versions.matches(version))
    }

    /// The versions for which there are changes, for a person.
    pub fn versions(&self) -> String {
        let mut versions: Vec<String> =
            self.files.iter().map(|(_, changed)| changed.versions.to_string()).collect();
        versions.sort();
        versions.dedup();
        versions.join(" and ")
    }

    /// Identifies the changes' content.
    pub fn key(&self) -> Result<String> {
        Ok(Key::new("crate").text(include_str!("copy.rs")).content(&self.directory)?.finish())
    }

    /// Applies the changes to the copy of the crate in `copy`.
    pub fn apply(&self, version: &Version, copy: &Path) -> Result<()> {
        for (path, changed) in &self.files {
            if !changed.versions.matches(version) {
                continue;
            }
            let target = copy.join(&changed.file);
            let fits = || {
                format!(
                    "{} does not fit {} of {} {version}",
                    path.display(),
                    changed.file.display(),
                    self.name
                )
            };
            let text = match &changed.add {
                Some(_) if target.exists() => {
                    return Err(anyhow::anyhow!("the file to add is there already"))
                        .with_context(fits);
                }
                Some(source) => {
                    let source = self.directory.join(source);
                    fs::read_to_string(&source)
                        .with_context(|| format!("cannot read {}", source.display()))?
                }
                None => {
                    let text = fs::read_to_string(&target)
                        .context("there is no such file")
                        .with_context(fits)?;
                    change::apply(&changed.change, &text).with_context(fits)?
                }
            };
            fs::write(&target, text)
                .with_context(|| format!("cannot write {}", target.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(files: &[(&str, &str)]) -> Result<(tempfile::TempDir, Catalogue)> {
        let directory = tempfile::tempdir()?;
        for (name, text) in files {
            let path = directory.path().join("crates").join(name);
            fs::create_dir_all(path.parent().context("a path")?)?;
            fs::write(path, text)?;
        }
        let catalogue = Catalogue::read(&directory.path().join("crates"))?;
        Ok((directory, catalogue))
    }

    const CHANGE: &str = "versions = \"0.6\"\nfile = \"src/lib.rs\"\n\n[[change]]\nreason = \"r\"\nanchor = \"unix\"\nreplacement = \"any\"\n";

    #[test]
    fn a_change_is_for_its_versions_only() -> Result<()> {
        let add = "versions = \">=0.6.2, <0.7\"\nfile = \"src/new.rs\"\nadd = \"new.rs\"\n";
        let (directory, catalogue) =
            catalogue(&[("a/lib.toml", CHANGE), ("a/new.toml", add), ("a/new.rs", "// new")])?;
        let offer = catalogue.offer("a").context("an offer")?;
        assert!(catalogue.offer("b").is_none());
        assert!(offer.fits(&"0.6.0".parse()?) && !offer.fits(&"0.5.9".parse()?));
        let copy = directory.path().join("copy");
        fs::create_dir_all(copy.join("src"))?;
        fs::write(copy.join("src/lib.rs"), "unix")?;
        offer.apply(&"0.6.0".parse()?, &copy)?;
        assert_eq!(fs::read_to_string(copy.join("src/lib.rs"))?, "any");
        assert!(!copy.join("src/new.rs").exists());
        fs::write(copy.join("src/lib.rs"), "unix")?;
        offer.apply(&"0.6.2".parse()?, &copy)?;
        assert_eq!(fs::read_to_string(copy.join("src/new.rs"))?, "// new");
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_told_with_crate_version_file_and_anchor() -> Result<()> {
        let (directory, catalogue) = catalogue(&[("a/lib.toml", CHANGE)])?;
        let offer = catalogue.offer("a").context("an offer")?;
        for source in [Some("no such text"), Some("unix unix"), None] {
            if let Some(source) = source {
                fs::create_dir_all(directory.path().join("src"))?;
                fs::write(directory.path().join("src/lib.rs"), source)?;
            } else {
                fs::remove_file(directory.path().join("src/lib.rs"))?;
            }
            let error = offer.apply(&"0.6.1".parse()?, directory.path());
            let error = format!("{:#}", error.err().context("an error")?);
            let anchor = if source.is_some() { "unix" } else { "no such file" };
            for part in ["a/lib.toml", "src/lib.rs of a 0.6.1", anchor] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
        Ok(())
    }

    #[test]
    fn an_added_file_replaces_none() -> Result<()> {
        let add = "versions = \"1\"\nfile = \"src/lib.rs\"\nadd = \"lib.rs\"\n";
        let (directory, catalogue) = catalogue(&[("a/lib.toml", add), ("a/lib.rs", "")])?;
        let offer = catalogue.offer("a").context("an offer")?;
        fs::create_dir_all(directory.path().join("src"))?;
        fs::write(directory.path().join("src/lib.rs"), "theirs")?;
        assert!(offer.apply(&"1.0.0".parse()?, directory.path()).is_err());
        assert_eq!(fs::read_to_string(directory.path().join("src/lib.rs"))?, "theirs");
        Ok(())
    }

    #[test]
    fn a_file_says_one_thing() {
        for text in [
            "versions = \"1\"\nfile = \"a\"\n",
            "versions = \"one\"\nfile = \"a\"\nadd = \"b\"\n",
            &format!("add = \"b\"\n{CHANGE}"),
            "versions = \"1\"\nfile = \"a\"\nadd = \"b\"\nmore = 1\n",
        ] {
            assert!(catalogue(&[("a/a.toml", text)]).is_err(), "{text}");
        }
    }

    #[test]
    fn the_projects_own_catalogue_is_well_formed() -> Result<()> {
        for (name, offer) in Catalogue::own()?.0 {
            assert!(!offer.files.is_empty(), "{name}");
            for (path, changed) in offer.files {
                if let Some(source) = changed.add {
                    let source = offer.directory.join(source);
                    assert!(source.is_file(), "{}", source.display());
                }
                for change in changed.change {
                    assert!(!change.anchor.trim().is_empty(), "{}", path.display());
                }
            }
        }
        Ok(())
    }
}
