//! Waits that end by time.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Waits with each of several time-outs; `wait` must not end early, nor much too late.
fn timed(wait: impl Fn(Duration)) {
    for milliseconds in [0, 1, 10, 50] {
        let wanted = Duration::from_millis(milliseconds);
        let start = Instant::now();
        wait(wanted);
        let waited = start.elapsed();
        assert!(waited >= wanted, "{waited:?} instead of {wanted:?}");
        assert!(waited < wanted + Duration::from_secs(1), "{waited:?} instead of {wanted:?}");
    }
}

pub fn condvar() -> io::Result<()> {
    let (lock, never) = (Mutex::new(()), Condvar::new());
    timed(|wanted| {
        let guard = lock.lock().unwrap();
        let (_guard, end) = never.wait_timeout_while(guard, wanted, |()| true).unwrap();
        assert!(end.timed_out());
    });
    Ok(())
}

pub fn channel() -> io::Result<()> {
    let (_sender, receiver) = mpsc::channel::<()>();
    timed(|wanted| assert_eq!(receiver.recv_timeout(wanted), Err(RecvTimeoutError::Timeout)));
    Ok(())
}

pub fn park() -> io::Result<()> {
    timed(|wanted| {
        let start = Instant::now();
        // A park may end early, though not without end.
        for _ in 0..1_000 {
            let left = wanted.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
    });
    Ok(())
}

pub fn order() -> io::Result<()> {
    let woken = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for milliseconds in [160, 40, 200, 80, 120] {
            let woken = &woken;
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(milliseconds));
                woken.lock().unwrap().push(milliseconds);
            });
        }
    });
    let woken = woken.into_inner().unwrap();
    assert!(woken.is_sorted(), "{woken:?}");
    Ok(())
}

pub fn woken() -> io::Result<()> {
    let (ready, changed) = (Mutex::new(false), Condvar::new());
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            *ready.lock().unwrap() = true;
            changed.notify_one();
        });
        let (_guard, end) = changed
            .wait_timeout_while(ready.lock().unwrap(), Duration::from_secs(30), |ready| !*ready)
            .unwrap();
        assert!(!end.timed_out());
    });
    assert!(start.elapsed() < Duration::from_secs(15));
    Ok(())
}
