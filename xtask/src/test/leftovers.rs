//! Finds processes that a case has left behind.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable that carries a case's mark to the processes it starts.
pub const VARIABLE: &str = "SKETE_TEST_MARK";

/// The processes that carry `mark` on their command line or in their environment. A process that
/// is just ending gets a moment to do so.
pub fn find(mark: &str) -> Vec<u32> {
    let start = Instant::now();
    loop {
        let found = marked(mark);
        if found.is_empty() || start.elapsed() > Duration::from_secs(2) {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that carry `mark` now.
pub fn marked(mark: &str) -> Vec<u32> {
    let own = std::process::id();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|&pid| pid != own)
        .filter(|pid| {
            ["cmdline", "environ"].iter().any(|file| {
                // A process of another user, or one that has ended, is none of ours.
                fs::read(format!("/proc/{pid}/{file}"))
                    .is_ok_and(|bytes| holds(&bytes, mark.as_bytes()))
            })
        })
        .collect()
}

/// Whether one of the NUL-separated words of `bytes` ends with `mark`.
fn holds(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.split(|&byte| byte == 0).any(|word| word.ends_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_marked_process_is_found_until_it_ends() -> std::io::Result<()> {
        let mark = format!("skete-leftover-{}", std::process::id());
        let mut child = Command::new("sleep").arg("60").env(VARIABLE, &mark).spawn()?;
        // Linux lets the parent go on a moment before the new program's environment is in place.
        let start = Instant::now();
        let mut found = marked(&mark);
        while found.is_empty() && start.elapsed() < Duration::from_secs(5) {
            found = marked(&mark);
        }
        child.kill()?;
        child.wait()?;
        assert_eq!(found, [child.id()]);
        assert!(find(&mark).is_empty());
        Ok(())
    }

    #[test]
    fn marks_that_begin_alike_are_apart() {
        assert!(holds(b"a\0-name\0mark-1\0", b"mark-1"));
        assert!(!holds(b"a\0-name\0mark-12\0", b"mark-1"));
    }
}
