//! Temporary files in a machine with one program: nobody else guesses their names.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

pub fn create_named(
    path: &Path,
    open_options: &mut OpenOptions,
    permissions: Option<&fs::Permissions>,
) -> io::Result<File> {
    let file = open_options
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions.clone())?;
    }
    Ok(file)
}

/// The file is gone from its directory at once, and lives until it is closed.
pub fn create(dir: &Path) -> io::Result<File> {
    crate::util::create_helper(
        dir,
        ".tmp".as_ref(),
        "".as_ref(),
        crate::NUM_RAND_CHARS,
        |path| {
            let file = create_named(&path, &mut OpenOptions::new(), None)?;
            fs::remove_file(path)?;
            Ok(file)
        },
    )
}

pub fn reopen(_file: &File, path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

pub fn persist(old_path: &Path, new_path: &Path, overwrite: bool) -> io::Result<()> {
    if overwrite {
        return fs::rename(old_path, new_path);
    }
    // A new name for the file fails where that name is taken, as it has to.
    fs::hard_link(old_path, new_path)?;
    fs::remove_file(old_path)
}

pub fn keep(_path: &Path) -> io::Result<()> {
    Ok(())
}
