//! Signals, processes, and the end of all work.

use std::io;
use std::time::{Duration, Instant};

use crate::{run, runtime};

pub fn ctrl_c() -> io::Result<()> {
    run(async {
        let late = tokio::time::timeout(Duration::from_millis(50), tokio::signal::ctrl_c()).await;
        assert!(late.is_err(), "{late:?}");
        Ok(())
    })
}

/// A program that is not there cannot be started; in an image, no program can.
pub fn processes() -> io::Result<()> {
    run(async {
        let result = tokio::process::Command::new("/no/such/program").output().await;
        let kind = result.err().map(|error| error.kind());
        let expected = match cfg!(target_os = "hermit") {
            true => io::ErrorKind::Unsupported,
            false => io::ErrorKind::NotFound,
        };
        assert_eq!(kind, Some(expected));
        Ok(())
    })
}

/// A runtime whose tasks wait is left at once, and its threads end.
pub fn idle() -> io::Result<()> {
    let start = Instant::now();
    let runtime = runtime()?;
    runtime.spawn(std::future::pending::<()>());
    runtime.spawn(async { tokio::time::sleep(Duration::from_secs(1_000)).await });
    runtime.shutdown_timeout(Duration::from_secs(10));
    assert!(start.elapsed() < Duration::from_secs(10));
    Ok(())
}
