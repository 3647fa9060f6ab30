//! Tasks and the threads that run them.

use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::{self, JoinSet, LocalSet};

use crate::run;

pub fn spawn() -> io::Result<()> {
    run(async {
        let tasks: Vec<_> = (0..100_u64)
            .map(|number| {
                tokio::spawn(async move {
                    task::yield_now().await;
                    number * number
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await?;
        }
        assert_eq!(sum, 328_350);
        Ok(())
    })
}

pub fn one_thread() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let here = std::thread::current().id();
        let there = tokio::spawn(async { std::thread::current().id() }).await?;
        assert_eq!(here, there);
        Ok(())
    })
}

pub fn abort_and_panic() -> io::Result<()> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = run(async {
        let dropped = Arc::new(());
        let held = dropped.clone();
        let endless = tokio::spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        task::yield_now().await;
        endless.abort();
        assert!(endless.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(Arc::strong_count(&dropped), 1);
        let panicking = tokio::spawn(async { panic!("on purpose") });
        assert!(panicking.await.is_err_and(|error| error.is_panic()));
        Ok(())
    });
    std::panic::set_hook(hook);
    result
}

pub fn blocking() -> io::Result<()> {
    run(async {
        let mut tasks = JoinSet::new();
        for number in 0..8_u64 {
            tasks.spawn_blocking(move || {
                std::thread::sleep(Duration::from_millis(5));
                (number, std::thread::current().id())
            });
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().map(|(number, _)| number).sum::<u64>(), 28);
        assert!(results.iter().map(|(_, thread)| thread).collect::<HashSet<_>>().len() > 1);
        let inside = tokio::spawn(async { task::block_in_place(|| 7) });
        assert_eq!(inside.await?, 7);
        Ok(())
    })
}

pub fn local() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let set = LocalSet::new();
    set.block_on(&runtime, async {
        let shared = Rc::new(std::cell::Cell::new(0));
        let tasks = (0..10).map(|_| {
            let shared = shared.clone();
            task::spawn_local(async move {
                task::yield_now().await;
                shared.set(shared.get() + 1);
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await?;
        }
        assert_eq!(shared.get(), 10);
        Ok(())
    })
}

pub fn ten_thousand() -> io::Result<()> {
    run(async {
        let count = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..10_000 {
            let count = count.clone();
            tasks.spawn(async move {
                task::yield_now().await;
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
        tasks.join_all().await;
        assert_eq!(count.load(Ordering::Relaxed), 10_000);
        Ok(())
    })
}
