//! One run at a time: two would build into the same directory and write the same results.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::paths;

/// The turn to run suites in this clone. It ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Takes the turn; an error when another run has it.
    pub fn take() -> Result<Turn> {
        Turn::take_at(&paths::generated().join("conformance/lock"))
    }

    fn take_at(path: &Path) -> Result<Turn> {
        let open = || {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            File::create(path)
        };
        let what = || format!("cannot lock {}", path.display());
        let lock = open().with_context(what)?;
        match lock.try_lock() {
            Ok(()) => Ok(Turn { _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "another `cargo xtask conformance` is running in this clone; wait for its end, or \
                 end it: its results are kept"
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_until_the_first_has_ended() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("conformance/lock");
        let first = Turn::take_at(&path)?;
        let refused = Turn::take_at(&path).map(drop).unwrap_err().to_string();
        assert!(refused.contains("another"), "{refused}");
        assert_eq!(refused.lines().count(), 1);
        drop(first);
        Turn::take_at(&path).map(drop)
    }
}
