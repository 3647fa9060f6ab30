//! Which processor a thread is on.

use std::arch::x86_64::__cpuid;
use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::run::{Run, spin};

/// The local APIC's number of the processor that runs this (Intel SDM 2A, CPUID, leaf 1).
pub fn current() -> u32 {
    __cpuid(1).ebx >> 24
}

pub fn all(run: &Run) -> String {
    let wanted = run.processors();
    let seen = Mutex::new(BTreeSet::new());
    let moves = AtomicU64::new(0);
    // Spreading threads may take a moment on a busy host, but not for ever.
    let patience = Instant::now() + Duration::from_secs(10);
    run.crew(|crew| {
        for _ in 0..wanted + 1 {
            crew.spawn("busy", |worker| {
                let mut last = current();
                loop {
                    seen.lock().expect("no thread panics").insert(last);
                    spin(200_000);
                    worker.step();
                    let now = current();
                    moves.fetch_add(u64::from(now != last), Relaxed);
                    last = now;
                    let enough = seen.lock().expect("no thread panics").len() >= wanted;
                    if (run.over() && enough) || Instant::now() > patience {
                        break;
                    }
                }
            });
        }
    });
    let seen = seen.into_inner().expect("no thread panics");
    if cfg!(target_os = "hermit") {
        assert_eq!(seen.len(), wanted, "busy threads ran on processors {seen:?} only");
    }
    format!("{} processors, {} moves between them", seen.len(), moves.into_inner())
}

pub fn yields(run: &Run) -> String {
    let counts = (0..run.threads()).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    run.crew(|crew| {
        for count in &counts {
            crew.spawn("yield", |worker| {
                while !run.over() {
                    thread::yield_now();
                    count.fetch_add(1, Relaxed);
                    worker.step();
                }
            });
        }
    });
    let counts = counts.into_iter().map(AtomicU64::into_inner).collect::<Vec<_>>();
    let (least, most) = (counts.iter().min(), counts.iter().max());
    let (Some(&least), Some(&most)) = (least, most) else { unreachable!() };
    // Where the host takes a processor away, a thread on it stands still: only a gross difference counts.
    assert!(
        least > 0 && most / least < 200,
        "threads that yield have very unlike shares: {counts:?}"
    );
    format!("{} threads, {} yields", counts.len(), counts.iter().sum::<u64>())
}

/// Does not come back: prints its line itself and ends the program from one of its threads.
pub fn exit(run: &Run) -> String {
    let (never, stop) = (Mutex::new(()), AtomicBool::new(false));
    let _held = never.lock();
    let ready = Barrier::new(2 * run.threads() + 1);
    run.crew(|crew| {
        for number in 0..2 * run.threads() {
            let (ready, stop, never) = (&ready, &stop, &never);
            crew.spawn("other", move |_| {
                ready.wait();
                match number % 4 {
                    0 => drop(never.lock()),
                    1 => thread::sleep(Duration::from_secs(1_000)),
                    2 => {
                        while !stop.load(Relaxed) {
                            drop(black_box(vec![1_u8; 300]));
                        }
                    }
                    _ => {
                        while !stop.load(Relaxed) {
                            thread::yield_now();
                        }
                    }
                }
            });
        }
        crew.spawn("last", |_| {
            ready.wait();
            while !run.over() {
                spin(1_000);
            }
            println!("ok      exit: {} threads are left", 2 * run.threads());
            std::process::exit(42)
        });
    });
    unreachable!("the program was to end")
}
