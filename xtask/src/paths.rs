//! Where things lie in the repository.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The repository's root directory.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.ends_with("xtask"))
            .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
    })
}

/// Everything that Skete generates lies under this directory.
pub fn generated() -> PathBuf {
    root().join("target/skete")
}

/// The SDK's directory.
pub fn sdk() -> PathBuf {
    generated().join("sdk")
}
