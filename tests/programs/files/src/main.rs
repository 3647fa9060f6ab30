//! Checks files and directories: results and error kinds. Works in a directory of its own.

mod contents;
mod devices;
mod directories;
mod limits;
mod links;
mod locks;
mod names;
mod positions;
mod reports;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    check::walk(
        &[
            ("open and create", contents::open),
            ("append", contents::append),
            ("seek", contents::seek),
            ("seek past the end", contents::hole),
            ("truncate and extend", contents::length),
            ("read and write at the edges", contents::edges),
            ("an unlinked file lives until it is closed", contents::unlinked),
            ("two handles see each other", contents::two_handles),
            ("a handle's clone shares its position", contents::clone),
            ("access that was not asked for", contents::access),
            ("metadata and times", contents::metadata),
            ("16 MiB in one file", contents::large),
            ("threads write into one file", contents::threads),
            ("make directories", directories::make),
            ("remove directories", directories::remove),
            ("list directories", directories::list),
            ("1,000 files", directories::many),
            ("rename files", directories::rename_files),
            ("rename directories", directories::rename_directories),
            ("remove a tree", directories::remove_tree),
            ("remove the current directory", directories::remove_current),
            ("long names", names::long),
            ("odd names", names::odd),
            ("paths with dots and slashes", names::paths),
            ("a file is no directory", names::not_a_directory),
            ("copy", names::copy),
            ("devices", devices::devices),
            ("hard links", links::hard),
            ("symbolic links", links::symbolic),
            ("links that lead nowhere", links::dangling),
            ("links to directories", links::directories),
            ("remove a tree with links", links::remove_tree),
            ("links in circles", links::circles),
            ("times of links", links::times),
            ("a long way round", links::long_way),
            ("attempts to lock", locks::attempts),
            ("wait for a lock", locks::waits),
            ("count under a lock", locks::counter),
            ("read and write at offsets", positions::at_offsets),
            ("threads at offsets", positions::threads),
            ("read and write in parts", positions::parts),
            ("parts that are appended", positions::appended_parts),
            ("two writers", positions::two_writers),
            ("a file longer than memory", positions::sparse),
            ("modes", positions::modes),
            ("paths of 5,000 bytes", limits::long_paths),
            ("names that are not text", limits::not_text),
            ("above the root", limits::above_the_root),
            ("100,000 files in one directory", limits::many),
            #[cfg(target_os = "hermit")]
            ("a full file system", limits::full),
            #[cfg(target_os = "hermit")]
            ("a read-only file", limits::read_only),
            ("reports", reports::reports),
            ("reports about the process", reports::process),
            ("reports as files", reports::as_files),
        ],
        std::env::args().nth(1).as_deref(),
    )
}

/// A directory for one check, removed with all that is in it.
struct Room(PathBuf);

impl Room {
    fn new() -> io::Result<Room> {
        let number = RandomState::new().hash_one(());
        let path = std::env::temp_dir().join(format!("files-{number:016x}"));
        fs::create_dir_all(&path)?;
        Ok(Room(path))
    }

    /// A path in this room.
    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the check's directory cannot be removed");
        assert!(!self.0.exists());
    }
}

/// Panics unless `result` is an error of this kind.
#[track_caller]
fn refused<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("success instead of {kind:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}
