//! Content keys: a step is done again when the key of its inputs changes, and only then.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use walkdir::WalkDir;

/// Collects the inputs of one step.
#[derive(Clone)]
pub struct Key(blake3::Hasher);

impl Key {
    /// Begins the key of the step `name`.
    pub fn new(name: &str) -> Key {
        Key(blake3::Hasher::new()).text(name)
    }

    /// Adds a piece of text.
    pub fn text(mut self, text: &str) -> Key {
        self.bytes(text.as_bytes());
        self
    }

    /// Adds a file's content, or the content of every file below a directory, with their names.
    /// A path that does not exist counts as that.
    pub fn content(mut self, path: &Path) -> Result<Key> {
        self.walk(path, |key, file| {
            let bytes =
                fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            key.bytes(&bytes);
            Ok(())
        })?;
        Ok(self)
    }

    /// Adds the names, sizes and modification times of the files below `path`: for the large trees
    /// that come with a package, where reading everything would take too long.
    pub fn stamps(mut self, path: &Path) -> Result<Key> {
        self.walk(path, |key, file| {
            let metadata =
                file.metadata().with_context(|| format!("cannot read {}", file.display()))?;
            let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            key.bytes(&metadata.len().to_le_bytes());
            key.bytes(&modified.as_nanos().to_le_bytes());
            Ok(())
        })?;
        Ok(self)
    }

    /// The finished key, 16 hexadecimal digits.
    pub fn finish(&self) -> String {
        self.0.finalize().to_hex()[..16].to_owned()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn walk(
        &mut self,
        path: &Path,
        mut add: impl FnMut(&mut Key, &Path) -> Result<()>,
    ) -> Result<()> {
        if !path.exists() {
            self.bytes(b"absent");
            return Ok(());
        }
        let files = WalkDir::new(path)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|entry| entry.depth() == 0 || entry.file_name() != "target");
        for entry in files {
            let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
            if entry.file_type().is_file() {
                let name = entry.path().strip_prefix(path).unwrap_or(entry.path());
                self.bytes(name.as_os_str().as_encoded_bytes());
                add(self, entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_an_input_changes_the_key() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let key = || Ok::<_, anyhow::Error>(Key::new("step").content(dir.path())?.finish());
        let empty = key()?;
        fs::write(dir.path().join("a"), "1")?;
        let one = key()?;
        fs::write(dir.path().join("a"), "2")?;
        let two = key()?;
        fs::rename(dir.path().join("a"), dir.path().join("b"))?;
        let renamed = key()?;
        let all = [&empty, &one, &two, &renamed];
        assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])));
        fs::rename(dir.path().join("b"), dir.path().join("a"))?;
        assert_eq!(key()?, two);
        Ok(())
    }

    #[test]
    fn neighbouring_texts_do_not_run_together() {
        assert_ne!(
            Key::new("s").text("ab").text("c").finish(),
            Key::new("s").text("a").text("bc").finish()
        );
    }
}
