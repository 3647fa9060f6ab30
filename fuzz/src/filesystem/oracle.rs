//! Linux as the judge: a thread whose root directory is an empty one on a tmpfs.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, set_capabilities};

const THREAD: &str = "oracle";

/// The thread: it takes an input and gives back what was wrong.
struct Oracle {
    inputs: SyncSender<Vec<u8>>,
    outcomes: Receiver<Result<(), String>>,
}

static ORACLE: LazyLock<Mutex<Oracle>> = LazyLock::new(|| Mutex::new(Oracle::start()));

/// Runs `work` on the thread, in an empty root directory.
///
/// # Panics
///
/// With what `work` finds wrong, or when it panics itself: here, on the caller's thread, so that a fuzzer can
/// write the input down.
pub fn run(data: &[u8]) {
    let oracle = ORACLE.lock().unwrap_or_else(PoisonError::into_inner);
    oracle.inputs.send(data.to_vec()).expect("the oracle lives");
    if let Err(wrong) = oracle.outcomes.recv().expect("the oracle lives") {
        panic!("{wrong}");
    }
}

impl Oracle {
    fn start() -> Oracle {
        // A fuzzer's own hook ends the process at once, and this thread cannot see the fuzzer's directories.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() == Some(THREAD) {
                eprintln!("{info}");
            } else {
                before(info);
            }
        }));
        let (inputs, receiver) = sync_channel::<Vec<u8>>(0);
        let (sender, outcomes) = sync_channel(0);
        let room = room();
        thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                enter(room.path());
                for data in receiver {
                    let outcome = panic::catch_unwind(AssertUnwindSafe(|| super::compare(&data)));
                    let outcome = outcome.unwrap_or_else(|_| Err("the driver panicked".to_owned()));
                    clear();
                    if sender.send(outcome).is_err() {
                        break;
                    }
                }
            })
            .expect("a thread");
        Oracle { inputs, outcomes }
    }
}

/// An empty directory, in memory if there is such a place.
fn room() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory for the oracle")
}

/// Makes `room` this thread's root directory. From then on the thread has no rights beyond those that files give:
/// what may not be written is not.
fn enter(room: &Path) {
    let entered = (|| -> Result<(), Errno> {
        // SAFETY: the thread opens no descriptor that another one relies on.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS)? };
        rustix::process::chroot(room)?;
        rustix::process::chdir("/")?;
        rustix::process::umask(rustix::fs::Mode::empty());
        let mut sets = capabilities(None)?;
        sets.effective = CapabilitySet::empty();
        set_capabilities(None, sets)
    })();
    if let Err(error) = entered {
        panic!(
            "the oracle cannot change its root directory ({error}): run this as root, or as \
             `unshare --map-root-user cargo xtask fuzz filesystem`"
        );
    }
}

/// Removes everything from the root directory.
fn clear() {
    for entry in fs::read_dir("/").expect("the root directory can be read") {
        let path = entry.expect("an entry").path();
        let is_directory = fs::symlink_metadata(&path).expect("an entry").is_dir();
        let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.unwrap_or_else(|error| panic!("cannot remove {}: {error}", path.display()));
    }
}
