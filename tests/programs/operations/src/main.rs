//! Does single operations many times: `operations NAME COUNT`, or all of them, with a line for each
//! that tells how many nanoseconds one takes. `cargo xtask bench` counts instructions instead, from
//! `operation_begins` to `operation_ended`.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

/// An operation's name, how often it is done, and the loop around it.
type Operation = (&'static str, u32, fn(u32));

const OPERATIONS: [Operation; 7] = [
    ("spawn-join", 200, spawn_join),
    ("mutex", 10_000, mutex),
    ("yield", 10_000, yield_between_two),
    ("park-unpark", 2_000, park_unpark),
    ("mpsc", 2_000, mpsc_round_trip),
    ("box", 10_000, boxes),
    ("now", 10_000, now),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(chosen) = arguments.next() else {
        for (name, count, operation) in OPERATIONS {
            operation(count / 10);
            let start = Instant::now();
            operation(count);
            let took = start.elapsed().as_nanos() as f64;
            println!("{name} {:.1}", took / f64::from(count));
        }
        return ExitCode::SUCCESS;
    };
    let known = OPERATIONS.iter().find(|(name, ..)| *name == chosen);
    let count = arguments.next().map(|count| count.parse::<u32>());
    let (Some((_, _, operation)), Some(Ok(count))) = (known, count) else {
        eprintln!("usage: operations [NAME COUNT]");
        return ExitCode::from(2);
    };
    // Before it counts: what is done only the first time.
    operation(count / 10);
    operation_begins();
    operation(count);
    operation_ended();
    ExitCode::SUCCESS
}

/// Where counting begins.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn operation_begins() {
    black_box("begins");
}

/// Where counting ends.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn operation_ended() {
    black_box("ended");
}

/// A thread is started, and its end is waited for.
fn spawn_join(count: u32) {
    for _ in 0..count {
        thread::spawn(|| {}).join().expect("it does not panic");
    }
}

/// A lock that nobody else wants is taken and given back.
fn mutex(count: u32) {
    let mutex = Mutex::new(0);
    for _ in 0..count {
        *black_box(&mutex).lock().expect("nobody panics") += 1;
    }
}

/// Two threads give way to each other. Two calls are one operation each.
fn yield_between_two(count: u32) {
    let turns = move || (0..count / 2).for_each(|_| thread::yield_now());
    let other = thread::spawn(turns);
    turns();
    other.join().expect("it does not panic");
}

/// Two threads wake each other and wait in turn.
fn park_unpark(count: u32) {
    let turn = Arc::new(AtomicBool::new(false));
    let main = thread::current();
    let other = thread::spawn({
        let turn = Arc::clone(&turn);
        move || {
            for _ in 0..count {
                while !turn.swap(false, Relaxed) {
                    thread::park();
                }
                main.unpark();
            }
        }
    });
    for _ in 0..count {
        turn.store(true, Relaxed);
        other.thread().unpark();
        thread::park();
    }
    other.join().expect("it does not panic");
}

/// A message goes to another thread and comes back.
fn mpsc_round_trip(count: u32) {
    let (there, away) = mpsc::channel::<u32>();
    let (back, here) = mpsc::channel::<u32>();
    let other = thread::spawn(move || {
        for number in away {
            back.send(number + 1).expect("somebody listens");
        }
    });
    for number in 0..count {
        there.send(number).expect("somebody listens");
        assert_eq!(here.recv(), Ok(number + 1));
    }
    drop(there);
    other.join().expect("it does not panic");
}

/// 64 bytes are allocated and freed.
fn boxes(count: u32) {
    for _ in 0..count {
        drop(black_box(Box::new([7u8; 64])));
    }
}

/// The monotonic clock is read.
fn now(count: u32) {
    for _ in 0..count {
        black_box(Instant::now());
    }
}
