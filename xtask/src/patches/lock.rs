//! Cargo.lock: a replaced crate stands in it without its source and checksum.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml_edit::DocumentMut;

use super::Patch;
use super::graph::REGISTRY;
use crate::process;

/// The lock file of the workspace that `directory` belongs to.
pub fn path(directory: &Path) -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo
        .args(["locate-project", "--workspace", "--message-format", "plain"])
        .current_dir(directory);
    let manifest = PathBuf::from(process::output(&mut cargo)?.trim());
    Ok(manifest.with_file_name("Cargo.lock"))
}

/// A build that replaces crates for itself only, and leaves the lock file as it was. Two builds of one
/// workspace wait for each other; what an interrupted one has left behind is put right by the next.
pub struct Kept {
    /// The lock file.
    path: PathBuf,
    /// Its content before the build, when the build will change it.
    content: Option<Vec<u8>>,
    /// The crates that the build replaces; the file is there for as long as the lock file is changed.
    mark: PathBuf,
    /// Locked until this is dropped.
    _turn: fs::File,
}

impl Kept {
    /// Waits for other builds of the workspace that `directory` belongs to.
    pub fn begin(directory: &Path, target_dir: &Path) -> Result<Kept> {
        fs::create_dir_all(target_dir)
            .with_context(|| format!("cannot create {}", target_dir.display()))?;
        let turn = target_dir.join("skete.lock");
        let turn = fs::File::create(&turn)
            .and_then(|file| file.lock().map(|()| file))
            .with_context(|| format!("cannot lock {}", turn.display()))?;
        let kept = Kept {
            path: path(directory)?,
            content: None,
            mark: target_dir.join("skete-replaced.json"),
            _turn: turn,
        };
        if let Ok(text) = fs::read(&kept.mark) {
            restore(&kept.path, &serde_json::from_slice::<Vec<_>>(&text).unwrap_or_default())?;
            kept.unmark()?;
        }
        Ok(kept)
    }

    /// Keeps the lock file's content, if a build with these patches will change it.
    pub fn keep(&mut self, patches: &[Patch]) -> Result<()> {
        if patches.is_empty() {
            return Ok(());
        }
        let content =
            fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        self.content = Some(content);
        let replaced: Vec<_> =
            patches.iter().map(|patch| (&patch.name, patch.version.to_string())).collect();
        crate::sdk::replace(&self.mark, &serde_json::to_vec(&replaced)?)
    }

    /// Puts the content back.
    pub fn put_back(self) -> Result<()> {
        let Some(content) = &self.content else {
            return Ok(());
        };
        crate::sdk::replace(&self.path, content)?;
        self.unmark()
    }

    fn unmark(&self) -> Result<()> {
        fs::remove_file(&self.mark)
            .with_context(|| format!("cannot remove {}", self.mark.display()))
    }
}

/// Gives crates that were replaced their source back, so that cargo keeps their versions when they
/// are replaced no longer. It adds the checksums itself. `replaced` are names and versions.
pub fn restore(path: &Path, replaced: &[(String, String)]) -> Result<()> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let restored = restored(&text, replaced)
        .with_context(|| format!("{} is not valid TOML", path.display()))?;
    crate::sdk::replace(path, restored.as_bytes())
}

fn restored(text: &str, replaced: &[(String, String)]) -> Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let packages = document.get_mut("package").and_then(|item| item.as_array_of_tables_mut());
    for package in packages.into_iter().flat_map(|packages| packages.iter_mut()) {
        let is =
            |key: &str, value: &str| package.get(key).and_then(|item| item.as_str()) == Some(value);
        let ours =
            replaced.iter().any(|(name, version)| is("name", name) && is("version", version));
        if ours && !package.contains_key("source") {
            package.insert("source", toml_edit::value(REGISTRY));
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_build_is_put_right() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let target = directory.path().join("target");
        fs::create_dir(directory.path().join("src"))?;
        fs::write(directory.path().join("src/lib.rs"), "")?;
        fs::write(directory.path().join("Cargo.toml"), "[package]\nname = \"a\"\n\n[workspace]\n")?;
        let lock = directory.path().join("Cargo.lock");
        let whole = format!(
            "version = 4\n\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\nsource = \"{REGISTRY}\"\n"
        );
        let changed = "version = 4\n\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n";
        let patches = [Patch {
            name: "b".into(),
            version: "1.0.0".parse()?,
            path: "/b".into(),
            key: "b".into(),
        }];
        for interrupted in [false, true] {
            fs::write(&lock, &whole)?;
            let mut kept = Kept::begin(directory.path(), &target)?;
            kept.keep(&patches)?;
            fs::write(&lock, changed)?;
            match interrupted {
                true => drop(kept),
                false => kept.put_back()?,
            }
            assert_eq!(fs::read_to_string(&lock)? == changed, interrupted);
            Kept::begin(directory.path(), &target)?.put_back()?;
            assert_eq!(fs::read_to_string(&lock)?, whole);
        }
        Ok(())
    }

    #[test]
    fn a_replaced_crate_gets_its_source_back() -> Result<()> {
        let lock = |source: &str| {
            format!(
                "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.6.5\"\ndependencies = [\n \"socket2\",\n]\n\n[[package]]\nname = \"socket2\"\nversion = \"0.6.5\"\n{source}"
            )
        };
        let replaced = [("socket2".to_owned(), "0.6.5".to_owned())];
        let source = format!("source = \"{REGISTRY}\"\n");
        assert_eq!(restored(&lock(""), &replaced)?, lock(&source));
        let whole = lock(&format!("{source}checksum = \"1f\"\n"));
        assert_eq!(restored(&whole, &replaced)?, whole);
        assert_eq!(restored(&lock(""), &[("socket2".into(), "0.6.4".into())])?, lock(""));
        restore(Path::new("/no/such/Cargo.lock"), &replaced)
    }
}
