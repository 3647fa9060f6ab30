//! Timers.

use std::io;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::run;

const STEP: Duration = Duration::from_millis(30);

/// Every sleeper wakes up, and none before its time.
pub fn never_early() -> io::Result<()> {
    run(async {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        for number in [4_u32, 1, 3, 2, 0] {
            let sender = sender.clone();
            tokio::spawn(async move {
                let start = Instant::now();
                time::sleep(STEP * number).await;
                sender.send((number, start.elapsed()))
            });
        }
        drop(sender);
        let mut seen = Vec::new();
        while let Some((number, elapsed)) = receiver.recv().await {
            assert!(elapsed >= STEP * number, "{number}: {elapsed:?}");
            seen.push(number);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        Ok(())
    })
}

pub fn interval() -> io::Result<()> {
    run(async {
        let start = Instant::now();
        let mut interval = time::interval(Duration::from_millis(10));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..6 {
            interval.tick().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(49), "{:?}", start.elapsed());
        Ok(())
    })
}

pub fn timeout_and_select() -> io::Result<()> {
    run(async {
        let late = time::timeout(STEP, std::future::pending::<()>()).await;
        assert!(late.is_err());
        let soon = time::timeout(Duration::from_secs(30), async { 3 }).await;
        assert_eq!(soon.ok(), Some(3));
        let first = tokio::select! {
            () = time::sleep(STEP * 20) => "slow",
            () = time::sleep(STEP) => "quick",
        };
        assert_eq!(first, "quick");
        let both = tokio::join!(async { 1 }, async {
            time::sleep(STEP).await;
            2
        });
        assert_eq!(both, (1, 2));
        Ok(())
    })
}

/// Many short sleeps on one thread: each wakes it up.
pub fn short() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..50 {
            time::sleep(Duration::from_millis(1)).await;
        }
        assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
        Ok(())
    })
}
