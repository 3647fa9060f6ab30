//! The memory file system against Linux: the same calls, in both, have to come to the same results, and what was
//! allocated for a file system has to be given back.

mod input;
mod linux;
mod oracle;
mod skete;

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use rustix::io::Errno;

use crate::memory;
use input::{DESCRIPTORS, Operation, Size};
use linux::Linux;
use skete::Skete;

/// Does with both file systems what the bytes mean.
///
/// # Panics
///
/// When the two differ, or memory is lost.
pub fn run(data: &[u8]) {
    oracle::run(data);
}

/// What an operation comes to.
type Outcome<T = ()> = Result<T, Errno>;

/// What both file systems can do. A descriptor is chosen by its place; one that is not open is `EBADF`.
trait FileSystem {
    fn apply(&mut self, operation: &Operation) -> Outcome<Answer>;
}

/// What an operation that succeeded has told.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    Number(u64),
    Bytes(Vec<u8>),
    Metadata(Metadata),
    Names(Vec<(Vec<u8>, Kind)>),
}

/// What has to agree about a file.
#[derive(Debug, PartialEq, Eq)]
struct Metadata {
    kind: Kind,
    links: u64,
    mode: u32,
    /// Of what is no directory.
    length: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    File,
    Directory,
    Link,
    Other,
}

/// Runs on the oracle's thread; an error tells where the two differ.
fn compare(data: &[u8]) -> Result<(), String> {
    let before = memory::held();
    let difference = {
        let mut input = Unstructured::new(data);
        let mut ours = Skete::new();
        let mut theirs = Linux::new();
        let mut number = 0;
        let mut full = false;
        loop {
            let Ok(operation) = Operation::arbitrary(&mut input) else {
                break Ok(());
            };
            number += 1;
            let our = ours.apply(&operation);
            #[cfg(test)]
            tests::note(&our);
            if our == Err(Errno::NOSPC) {
                // Linux has more room, so it is not asked. That nothing was lost or half done shows in what
                // follows.
                continue;
            }
            let operation = match (operation, &our) {
                // The last write for which there is room may be shorter than asked.
                (Operation::Write(slot, _, byte), Ok(Answer::Number(length))) if full => {
                    Operation::Write(slot, Size(*length as usize), byte)
                }
                (Operation::WriteAt(slot, _, byte, offset), Ok(Answer::Number(length))) if full => {
                    Operation::WriteAt(slot, Size(*length as usize), byte, offset)
                }
                (operation, _) => operation,
            };
            if let Operation::Full(now) = operation {
                full = now.0;
            }
            let their = theirs.apply(&operation);
            if our != their {
                break Err(format!(
                    "operation {number}, {operation:?}: {our:?} instead of {their:?}"
                ));
            }
            if input.is_empty() {
                break Ok(());
            }
        }
    };
    difference?;
    let lost = memory::held() - before;
    if lost != 0 {
        return Err(format!("{lost} bytes were not given back"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// The errors that have come up, by their numbers.
    static SEEN: AtomicU64 = AtomicU64::new(0);

    pub fn note(outcome: &Outcome<Answer>) {
        if let Err(error) = outcome {
            SEEN.fetch_or(1 << error.raw_os_error(), Relaxed);
        }
    }

    #[test]
    fn agrees_with_linux() {
        crate::seeds::drive(2_000, 2_000, run);
        // Inputs that never get far would agree as well.
        for error in [
            Errno::PERM,
            Errno::NOENT,
            Errno::BADF,
            Errno::AGAIN,
            Errno::ACCESS,
            Errno::BUSY,
            Errno::EXIST,
            Errno::NOTDIR,
            Errno::ISDIR,
            Errno::INVAL,
            Errno::NOSPC,
            Errno::NAMETOOLONG,
            Errno::NOTEMPTY,
            Errno::LOOP,
        ] {
            let seen = SEEN.load(Relaxed) & 1 << error.raw_os_error() != 0;
            assert!(seen, "{error:?} never came up");
        }
    }
}
