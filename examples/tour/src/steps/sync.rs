//! Locks, channels and the rest of `std::sync`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::sync::{Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::report::{Report, Trouble, failed, fine};
use crate::{ensure, ensure_eq};

pub fn walk(report: &mut Report) {
    report.room("synchronization");
    report.step("atomics", || {
        let counter = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..10_000).for_each(|_| _ = counter.fetch_add(1, Ordering::Relaxed))
                });
            }
        });
        ensure_eq!(counter.load(Ordering::Relaxed), 40_000);
        ensure_eq!(
            counter.compare_exchange(1, 2, Ordering::AcqRel, Ordering::Acquire),
            Err(40_000)
        );
        fine()
    });
    report.step("Mutex", || {
        let counter = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        *counter.lock().unwrap() += 1;
                    }
                });
            }
        });
        let guard = counter.lock().map_err(failed)?;
        ensure_eq!(*guard, 4_000);
        ensure!(counter.try_lock().is_err());
        fine()
    });
    report.step("a poisoned Mutex", || {
        if cfg!(not(panic = "unwind")) {
            return Err(Trouble::Unsupported("built with panic = \"abort\"".to_owned()));
        }
        let lock = Mutex::new(1);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _guard = lock.lock();
                    panic!("on purpose");
                })
                .join()
                .is_err()
        });
        std::panic::set_hook(hook);
        ensure!(panicked && lock.is_poisoned());
        lock.clear_poison();
        ensure!(lock.lock().is_ok());
        fine()
    });
    report.step("Condvar", || {
        let (turn, changed) = (Mutex::new(0), Condvar::new());
        thread::scope(|scope| {
            for me in 0..4 {
                let (turn, changed) = (&turn, &changed);
                scope.spawn(move || {
                    let mut turn =
                        changed.wait_while(turn.lock().unwrap(), |turn| *turn != me).unwrap();
                    *turn += 1;
                    changed.notify_all();
                });
            }
        });
        ensure_eq!(turn.into_inner().ok(), Some(4));
        fine()
    });
    report.step("Condvar with a timeout", || {
        let lock = Mutex::new(());
        let start = Instant::now();
        let guard = lock.lock().map_err(failed)?;
        let (_guard, end) = Condvar::new()
            .wait_timeout_while(guard, Duration::from_millis(20), |()| true)
            .map_err(failed)?;
        ensure!(end.timed_out());
        ensure!(start.elapsed() >= Duration::from_millis(20));
        fine()
    });
    report.step("RwLock", || {
        let lock = RwLock::new(0);
        {
            let _one = lock.read().map_err(failed)?;
            ensure!(lock.try_read().is_ok() && lock.try_write().is_err());
        }
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let before = *lock.read().unwrap();
                        *lock.write().unwrap() += 1;
                        assert!(*lock.read().unwrap() > before);
                    }
                });
            }
        });
        ensure_eq!(lock.into_inner().ok(), Some(2_000));
        fine()
    });
    report.step("Once, OnceLock, LazyLock", || {
        static ONCE: Once = Once::new();
        static CELL: OnceLock<usize> = OnceLock::new();
        static LAZY: LazyLock<String> = LazyLock::new(|| "made once".to_owned());
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        thread::scope(|scope| {
            for i in 0..8 {
                scope.spawn(move || {
                    ONCE.call_once(|| _ = CALLS.fetch_add(1, Ordering::Relaxed));
                    CELL.get_or_init(|| i);
                });
            }
        });
        ensure_eq!(CALLS.load(Ordering::Relaxed), 1);
        ensure!(CELL.get().is_some() && *LAZY == "made once");
        fine()
    });
    report.step("Barrier", || {
        let barrier = Barrier::new(4);
        let (arrived, leaders) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let all_had_arrived = thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    if barrier.wait().is_leader() {
                        leaders.fetch_add(1, Ordering::SeqCst);
                    }
                    arrived.load(Ordering::SeqCst) == 4
                })
            });
            threads.map(|thread| thread.join().unwrap_or(false))
        });
        ensure_eq!((all_had_arrived, leaders.into_inner()), ([true; 4], 1));
        fine()
    });
    report.step("channel", || {
        let (sender, receiver) = mpsc::channel();
        for i in 0..4 {
            let sender = sender.clone();
            thread::spawn(move || (0..100).try_for_each(|j| sender.send(i * 100 + j)));
        }
        drop(sender);
        let mut received = receiver.iter().collect::<Vec<_>>();
        received.sort();
        ensure!(received.into_iter().eq(0..400));
        ensure_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        fine()
    });
    report.step("bounded channel", || {
        let (sender, receiver) = mpsc::sync_channel(0);
        let thread = thread::spawn(move || (0..100).try_for_each(|i| sender.send(i)));
        ensure!(receiver.iter().eq(0..100));
        ensure!(thread.join().is_ok_and(|sent| sent.is_ok()));
        fine()
    });
    report.step("channel with a timeout", || {
        let (_sender, receiver) = mpsc::channel::<()>();
        let start = Instant::now();
        ensure_eq!(
            receiver.recv_timeout(Duration::from_millis(20)),
            Err(RecvTimeoutError::Timeout)
        );
        ensure!(start.elapsed() >= Duration::from_millis(20));
        fine()
    });
}
