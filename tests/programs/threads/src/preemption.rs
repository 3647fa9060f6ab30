//! Threads that do not give the processor away by themselves.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

pub fn shares() -> io::Result<()> {
    let counters = [(); 4].map(|()| AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for counter in &counters {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(Duration::from_millis(400));
        stop.store(true, Ordering::Relaxed);
    });
    let counts = counters.map(AtomicU64::into_inner);
    let (least, most) = (counts.iter().min(), counts.iter().max());
    let (Some(&least), Some(&most)) = (least, most) else { unreachable!() };
    // The host's own scheduler is in this as well: only a gross difference counts.
    assert!(least > 0 && most / least < 20, "{counts:?}");
    Ok(())
}

pub fn sleeper() -> io::Result<()> {
    let stop = AtomicBool::new(false);
    let slept = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let start = Instant::now();
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        start.elapsed()
    });
    assert!(slept >= Duration::from_millis(50), "{slept:?}");
    assert!(slept < Duration::from_secs(3), "{slept:?}");
    Ok(())
}

pub fn locals() -> io::Result<()> {
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(7) };
        static LAZY: Cell<usize> = Cell::new(vec![1; 3].len());
    }
    let threads = (1..=8_u64).map(|i| {
        thread::spawn(move || {
            assert_eq!((NUMBER.get(), LAZY.get()), (7, 3));
            for _ in 0..20_000 {
                NUMBER.set(NUMBER.get() + i);
            }
            NUMBER.get()
        })
    });
    // All are started before the first is joined.
    for (thread, i) in threads.collect::<Vec<_>>().into_iter().zip(1..) {
        assert_eq!(thread.join().ok(), Some(7 + 20_000 * i));
    }
    assert_eq!(NUMBER.get(), 7);
    Ok(())
}

pub fn cycles() -> io::Result<()> {
    // Each thread has a stack of 1 MiB and touches a quarter of it: without giving them back,
    // 64 MiB of memory would not be enough.
    for i in 0..1_000_u32 {
        let thread = thread::Builder::new().stack_size(1 << 20).spawn(move || {
            let mut stack = [0_u8; 256 << 10];
            std::hint::black_box(&mut stack)[i as usize] = 1;
            stack.iter().map(|&byte| u32::from(byte)).sum::<u32>()
        })?;
        assert_eq!(thread.join().ok(), Some(1));
    }
    Ok(())
}

pub fn many() -> io::Result<()> {
    let (count, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(201)));
    let mut threads = Vec::new();
    for _ in 0..200 {
        let (count, gate) = (Arc::clone(&count), Arc::clone(&gate));
        let thread = thread::Builder::new().stack_size(64 << 10).spawn(move || {
            gate.wait();
            count.fetch_add(1, Ordering::Relaxed);
        })?;
        threads.push(thread);
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
    gate.wait();
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a thread panicked"))?;
    }
    assert_eq!(count.load(Ordering::Relaxed), 200);
    Ok(())
}
