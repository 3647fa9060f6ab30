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

/// A lock file as it was before a build that replaces crates for itself only.
#[must_use]
pub struct Kept(Option<(PathBuf, Vec<u8>)>);

impl Kept {
    /// Keeps the lock file's content, if a build with these patches will change it.
    pub fn read(directory: &Path, patches: &[Patch]) -> Result<Kept> {
        if patches.is_empty() {
            return Ok(Kept(None));
        }
        let path = path(directory)?;
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Kept(Some((path, content))))
    }

    /// Puts it back.
    pub fn put_back(self) -> Result<()> {
        match self.0 {
            Some((path, content)) => crate::sdk::replace(&path, &content),
            None => Ok(()),
        }
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
    let packages = document
        .get_mut("package")
        .and_then(|item| item.as_array_of_tables_mut());
    for package in packages
        .into_iter()
        .flat_map(|packages| packages.iter_mut())
    {
        let is =
            |key: &str, value: &str| package.get(key).and_then(|item| item.as_str()) == Some(value);
        let ours = replaced
            .iter()
            .any(|(name, version)| is("name", name) && is("version", version));
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
        assert_eq!(
            restored(&lock(""), &[("socket2".into(), "0.6.4".into())])?,
            lock("")
        );
        restore(Path::new("/no/such/Cargo.lock"), &replaced)
    }
}
