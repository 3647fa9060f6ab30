//! Measures what several processors give, and how exact time is: `scaling WHAT...`, with a line
//! `NAME NUMBER` for each result. `cargo xtask bench --against linux` reads them.
//!
//! `scaling idle SECONDS` does nothing for a while between two lines, so that others can measure
//! what that costs.

mod allocation;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How often everything is measured. The shortest time counts, since others can only lengthen it: many short
/// rounds find a moment in which they do not.
const ROUNDS: u32 = 15;
/// Steps of a busy thread.
const STEPS: u64 = 25_000_000;
/// How often it sleeps after the first time.
const SLEEPS: usize = 200;
/// How long it sleeps each time.
const SLEEP: Duration = Duration::from_millis(1);
/// How long the program stays after it was idle: until then its processor time can be read.
const STAY: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["idle", seconds] => match seconds.parse() {
            Ok(seconds) => idle(Duration::from_secs(seconds)),
            Err(_) => return usage(),
        },
        [] => return usage(),
        ref all => {
            for what in all {
                match *what {
                    "processors" => println!("processors {}", processors()),
                    "busy" => busy(),
                    "allocation" => allocation::measure(),
                    "sleep" => sleep(),
                    _ => return usage(),
                }
            }
        }
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: scaling [processors] [busy] [allocation] [sleep]");
    eprintln!("       scaling idle SECONDS");
    ExitCode::from(2)
}

/// How many processors the program may use.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Runs `work` in so many threads at once and gives the time from the common start to the last end.
fn together(threads: usize, work: impl Fn() + Sync) -> Duration {
    let start = Barrier::new(threads + 1);
    let there = AtomicUsize::new(0);
    let begun = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                there.fetch_add(1, Relaxed);
                start.wait();
                work();
            });
        }
        while there.load(Relaxed) < threads {
            thread::yield_now();
        }
        // Before the barrier: behind it the threads may have run to their ends already.
        let begun = Instant::now();
        start.wait();
        begun
    });
    begun.elapsed()
}

/// The shortest of several times, in nanoseconds.
fn shortest(measure: impl FnMut() -> Duration) -> u128 {
    let times = std::iter::repeat_with(measure).take(ROUNDS as usize);
    times.min().unwrap_or_default().as_nanos()
}

/// One thread that computes, and two of them.
fn busy() {
    for threads in [1, 2] {
        println!("busy-{threads} {}", shortest(|| together(threads, compute)));
    }
}

/// Computes without memory, locks or the system (xorshift, Marsaglia 2003).
fn compute() {
    let mut number = black_box(88_172_645_463_325_252_u64);
    for _ in 0..STEPS {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
    }
    black_box(number);
}

/// How much longer than asked a short sleep takes, in microseconds: the first one, which may find that a
/// clock has to be set up, and of all others the one in the middle and the worst.
fn sleep() {
    let late = || {
        let start = Instant::now();
        thread::sleep(SLEEP);
        start.elapsed().saturating_sub(SLEEP)
    };
    let first = late();
    let mut others: Vec<Duration> = std::iter::repeat_with(late).take(SLEEPS).collect();
    others.sort();
    for (name, late) in
        [("first", first), ("median", others[SLEEPS / 2]), ("worst", others[SLEEPS - 1])]
    {
        println!("sleep-{name} {:.1}", late.as_nanos() as f64 / 1e3);
    }
}

/// Does nothing, after every processor has worked once.
fn idle(time: Duration) {
    together(processors(), compute);
    println!("idle begins");
    thread::sleep(time);
    println!("idle ended");
    thread::sleep(STAY);
}
