//! Mutual exclusion and messages.

use std::cell::UnsafeCell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// A counter that is only right when nobody disturbs the one who counts.
struct Plain(UnsafeCell<u64>);

// SAFETY: every use is inside a lock.
unsafe impl Sync for Plain {}

impl Plain {
    /// Adds one slowly. The caller holds the lock that protects it.
    fn add(&self) {
        // SAFETY: the caller's lock excludes all others.
        unsafe {
            let value = self.0.get().read_volatile();
            for _ in 0..20 {
                std::hint::spin_loop();
            }
            self.0.get().write_volatile(value + 1);
        }
    }
}

pub fn mutex() -> io::Result<()> {
    let (lock, count) = (Mutex::new(()), Plain(UnsafeCell::new(0)));
    thread::scope(|scope| {
        for i in 0..8 {
            let (lock, count) = (&lock, &count);
            scope.spawn(move || {
                for j in 0..2_000 {
                    let _guard = lock.lock();
                    count.add();
                    if (i + j) % 500 == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
    });
    assert_eq!(count.0.into_inner(), 16_000);
    Ok(())
}

pub fn fairness() -> io::Result<()> {
    let lock = Mutex::new([0_u32; 4]);
    let start = Instant::now();
    let everybody = |counts: &[u32; 4]| counts.iter().all(|&count| count >= 100);
    thread::scope(|scope| {
        for i in 0..4 {
            let lock = &lock;
            scope.spawn(move || {
                while start.elapsed() < Duration::from_secs(10) {
                    let mut counts = lock.lock().unwrap();
                    counts[i] += 1;
                    if everybody(&counts) {
                        break;
                    }
                }
            });
        }
    });
    let counts = lock.into_inner().unwrap();
    assert!(everybody(&counts), "{counts:?}");
    Ok(())
}

pub fn readers_and_writers() -> io::Result<()> {
    let pair = RwLock::new((0_u64, 0_u64));
    let writing = AtomicBool::new(true);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while writing.load(Ordering::Relaxed) {
                    let pair = pair.read().unwrap();
                    assert_eq!(pair.0, pair.1);
                    drop(pair);
                    thread::yield_now();
                }
            });
        }
        for _ in 0..2_000 {
            let mut pair = pair.write().unwrap();
            pair.0 += 1;
            for _ in 0..50 {
                std::hint::spin_loop();
            }
            pair.1 += 1;
        }
        writing.store(false, Ordering::Relaxed);
    });
    assert_eq!(pair.into_inner().ok(), Some((2_000, 2_000)));
    Ok(())
}

pub fn condvar() -> io::Result<()> {
    const ROUNDS: u32 = 300;
    let (turn, changed) = (Mutex::new(0_u32), Condvar::new());
    thread::scope(|scope| {
        for me in 0..3 {
            let (turn, changed) = (&turn, &changed);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let mine = round * 3 + me;
                    let mut turn =
                        changed.wait_while(turn.lock().unwrap(), |turn| *turn != mine).unwrap();
                    *turn += 1;
                    changed.notify_all();
                }
            });
        }
    });
    assert_eq!(*turn.lock().unwrap(), ROUNDS * 3);

    // `notify_one` for each token: none may be lost.
    let (tokens, added) = (Mutex::new(0_u32), Condvar::new());
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let mut tokens =
                        added.wait_while(tokens.lock().unwrap(), |tokens| *tokens == 0).unwrap();
                    *tokens -= 1;
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..500 {
            *tokens.lock().unwrap() += 1;
            added.notify_one();
        }
    });
    assert_eq!(taken.into_inner(), 500);
    Ok(())
}

pub fn barrier() -> io::Result<()> {
    let barrier = Barrier::new(5);
    let leaders = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for _ in 0..200 {
                    if barrier.wait().is_leader() {
                        leaders.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(leaders.into_inner(), 200);
    Ok(())
}

pub fn once() -> io::Result<()> {
    for _ in 0..20 {
        let (cell, calls) = (OnceLock::new(), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let value = cell.get_or_init(|| {
                        thread::yield_now();
                        calls.fetch_add(1, Ordering::Relaxed)
                    });
                    assert_eq!(*value, 0);
                });
            }
        });
        assert_eq!(calls.into_inner(), 1);
    }
    Ok(())
}

pub fn ring() -> io::Result<()> {
    let (first, mut end) = mpsc::channel::<u32>();
    for _ in 0..20 {
        let (sender, next) = mpsc::channel();
        let receiver = std::mem::replace(&mut end, next);
        thread::spawn(move || receiver.into_iter().try_for_each(|n| sender.send(n + 1)));
    }
    for i in 0..50 {
        first.send(i).map_err(io::Error::other)?;
    }
    drop(first);
    assert!(end.into_iter().eq(20..70));
    Ok(())
}

pub fn early_unpark() -> io::Result<()> {
    for _ in 0..500 {
        thread::current().unpark();
        thread::park();
    }
    let other = thread::spawn(|| {
        thread::sleep(Duration::from_millis(5));
        thread::park();
    });
    other.thread().unpark();
    other.join().map_err(|_| io::Error::other("the thread panicked"))
}
