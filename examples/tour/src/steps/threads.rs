//! Threads and what belongs to one.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::report::{Report, Trouble, failed, fine};
use crate::{ensure, ensure_eq};

pub fn walk(report: &mut Report) {
    report.room("threads");
    report.step("available parallelism", || Ok(thread::available_parallelism()?.to_string()));
    report.step("spawn and join", || {
        let text = String::from("moved in");
        let length = thread::spawn(move || text.len()).join();
        ensure_eq!(length.ok(), Some(8));
        fine()
    });
    report.step("64 threads at a time", || {
        let threads = (0..64)
            .map(|i| thread::Builder::new().spawn(move || i))
            .collect::<Result<Vec<_>, _>>()?;
        let sum = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| failed("panicked")))
            .sum::<Result<u32, _>>()?;
        ensure_eq!(sum, 2016);
        fine()
    });
    report.step("scoped threads borrow", || {
        let numbers = [1, 2, 3, 4];
        let total = AtomicUsize::new(0);
        thread::scope(|scope| {
            for number in &numbers {
                scope.spawn(|| total.fetch_add(*number, Ordering::Relaxed));
            }
        });
        ensure_eq!(total.into_inner(), 10);
        fine()
    });
    report.step("name and stack size", || {
        let thread =
            thread::Builder::new().name("walker".to_owned()).stack_size(4 << 20).spawn(|| {
                // Three of the four MiB, touched from end to end.
                let mut stack = [0_u8; 3 << 20];
                std::hint::black_box(&mut stack).fill(1);
                (thread::current().name().map(str::to_owned), stack[3 << 19])
            })?;
        let seen = thread.join().map_err(|_| failed("panicked"))?;
        ensure_eq!(seen, (Some("walker".to_owned()), 1));
        fine()
    });
    report.step("every thread has its own id", || {
        let ids = (0..8)
            .map(|_| thread::spawn(|| thread::current().id()).join())
            .collect::<Result<HashSet<_>, _>>()
            .map_err(|_| failed("panicked"))?;
        ensure_eq!(ids.len(), 8);
        ensure!(!ids.contains(&thread::current().id()));
        fine()
    });
    report.step("thread locals", || {
        thread_local!(static COUNT: Cell<u32> = const { Cell::new(5) });
        COUNT.set(6);
        let other = thread::spawn(|| COUNT.replace(9)).join();
        ensure_eq!((other.ok(), COUNT.get()), (Some(5), 6));
        fine()
    });
    report.step("destructors of thread locals", || {
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        struct Counted;
        impl Drop for Counted {
            fn drop(&mut self) {
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
        }
        thread_local!(static LIST: RefCell<Vec<Counted>> = const { RefCell::new(Vec::new()) });
        thread::spawn(|| LIST.with_borrow_mut(|list| list.extend([Counted, Counted])))
            .join()
            .map_err(|_| failed("panicked"))?;
        ensure_eq!(DROPPED.load(Ordering::Relaxed), 2);
        fine()
    });
    report.step("park and unpark", || {
        let woken = AtomicBool::new(false);
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                while !woken.load(Ordering::Acquire) {
                    thread::park();
                }
            });
            woken.store(true, Ordering::Release);
            sleeper.thread().unpark();
        });
        fine()
    });
    report.step("park with a timeout", || {
        let start = Instant::now();
        // A park may end early, but not every time.
        while start.elapsed() < Duration::from_millis(20) {
            thread::park_timeout(Duration::from_millis(20));
        }
        ensure!(start.elapsed() < Duration::from_secs(2));
        fine()
    });
    report.step("a busy thread is preempted", || {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            thread::sleep(Duration::from_millis(20));
            stop.store(true, Ordering::Relaxed);
        });
        fine()
    });
    report.step("yield and is_finished", || {
        let thread = thread::spawn(|| ());
        let start = Instant::now();
        while !thread.is_finished() {
            thread::yield_now();
            ensure!(start.elapsed() < Duration::from_secs(5));
        }
        fine()
    });
    report.step("a panic ends its thread only", || {
        if cfg!(not(panic = "unwind")) {
            return Err(Trouble::Unsupported("built with panic = \"abort\"".to_owned()));
        }
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let end = thread::spawn(|| panic!("on purpose")).join();
        std::panic::set_hook(hook);
        let message = end.err().and_then(|payload| payload.downcast_ref::<&str>().copied());
        ensure_eq!(message, Some("on purpose"));
        fine()
    });
}
