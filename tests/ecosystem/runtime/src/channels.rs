//! Channels and locks between tasks, and between tasks and threads.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{
    Barrier, Mutex, Notify, OnceCell, RwLock, Semaphore, broadcast, mpsc, oneshot, watch,
};
use tokio::task::JoinSet;

use crate::run;

pub fn mpsc() -> io::Result<()> {
    run(async {
        let (sender, mut receiver) = mpsc::channel(4);
        for part in 0..10_u64 {
            let sender = sender.clone();
            tokio::spawn(async move {
                for number in 0..100 {
                    if sender.send(part * 100 + number).await.is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let (mut count, mut sum) = (0, 0);
        while let Some(number) = receiver.recv().await {
            count += 1;
            sum += number;
        }
        assert_eq!((count, sum), (1_000, 499_500));
        Ok(())
    })
}

pub fn others() -> io::Result<()> {
    run(async {
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move { sender.send("once") });
        assert_eq!(receiver.await.ok(), Some("once"));
        let (sender, receiver) = oneshot::channel::<()>();
        drop(sender);
        assert!(receiver.await.is_err());

        let (sender, mut first) = broadcast::channel(16);
        let mut second = sender.subscribe();
        for number in 0..5 {
            sender.send(number).map_err(io::Error::other)?;
        }
        for number in 0..5 {
            assert_eq!(first.recv().await.ok(), Some(number));
            assert_eq!(second.recv().await.ok(), Some(number));
        }

        let (sender, mut receiver) = watch::channel(0);
        let waiter = tokio::spawn(async move {
            receiver.wait_for(|value| *value == 3).await.map(|value| *value).ok()
        });
        for value in 1..=3 {
            sender.send_replace(value);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(waiter.await?, Some(3));
        Ok(())
    })
}

pub fn locks() -> io::Result<()> {
    run(async {
        let sum = Arc::new(Mutex::new(0_u64));
        let table = Arc::new(RwLock::new(Vec::new()));
        let permits = Arc::new(Semaphore::new(3));
        let barrier = Arc::new(Barrier::new(10));
        let mut tasks = JoinSet::new();
        for number in 0..10_u64 {
            let (sum, table) = (sum.clone(), table.clone());
            let (permits, barrier) = (permits.clone(), barrier.clone());
            tasks.spawn(async move {
                let leader = barrier.wait().await.is_leader();
                let permit = permits.acquire().await;
                *sum.lock().await += number;
                table.write().await.push(number);
                drop(permit);
                leader
            });
        }
        let leaders = tasks.join_all().await;
        assert_eq!(leaders.into_iter().filter(|leader| *leader).count(), 1);
        assert_eq!(*sum.lock().await, 45);
        assert_eq!(table.read().await.len(), 10);

        let notify = Arc::new(Notify::new());
        let waiting = notify.clone();
        let waiter = tokio::spawn(async move { waiting.notified().await });
        notify.notify_one();
        waiter.await?;
        let cell = OnceCell::new();
        assert_eq!(*cell.get_or_init(|| async { 5 }).await, 5);
        Ok(())
    })
}

/// A thread outside wakes the runtime, and a task feeds a thread.
pub fn other_threads() -> io::Result<()> {
    run(async {
        let (sender, mut receiver) = mpsc::channel(1);
        let writer = thread::spawn(move || {
            for number in 0..50 {
                thread::sleep(Duration::from_millis(1));
                if sender.blocking_send(number).is_err() {
                    return;
                }
            }
        });
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        assert_eq!(sum, 1_225);
        writer.join().map_err(|_| io::Error::other("the thread has panicked"))?;
        let handle = tokio::runtime::Handle::current();
        let answer = thread::spawn(move || handle.block_on(async { 42 })).join();
        assert_eq!(answer.ok(), Some(42));
        Ok(())
    })
}
