//! Follows the host's wall clock while others do things to it, and to the machine.
//!
//! Each line of input is the host's time now, in seconds since 1970, which the own wall clock has to agree with;
//! or `set` and a time to set it to. Meanwhile two threads see to it that the monotonic clock never goes back, and
//! one sleeps.

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far the wall clock may be behind and ahead of the host's: that comes in whole seconds, and takes its
/// time to get here.
const BEHIND: f64 = 1.0;
const AHEAD: f64 = 2.0;
/// How long the sleep is.
const SLEEP: Duration = Duration::from_secs(5);

pub fn run() -> ExitCode {
    let (over, last) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    let good = thread::scope(|scope| {
        let watchers = [(); 2].map(|()| {
            let (over, last) = (&over, &last);
            scope.spawn(move || watch(start, last, over))
        });
        let sleeper = scope.spawn(move || {
            thread::sleep(SLEEP);
            start.elapsed()
        });
        let mut good = true;
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match follow(&line) {
                Ok(said) => println!("ok      {said}"),
                Err(said) => {
                    println!("failed  {said}");
                    good = false;
                }
            }
        }
        match sleeper.join() {
            Ok(slept) if slept >= SLEEP => println!("ok      the sleep has ended"),
            other => {
                println!("failed  the sleep lasted {other:?}");
                good = false;
            }
        }
        over.store(true, SeqCst);
        for watcher in watchers {
            match watcher.join() {
                Ok(None) => {}
                Ok(Some(back)) => {
                    println!("failed  the monotonic clock went back by {back} ns");
                    good = false;
                }
                Err(_) => good = false,
            }
        }
        println!("{:.1} seconds in all", start.elapsed().as_secs_f64());
        good
    });
    match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Holds the monotonic clock against the latest time that any thread has seen; gives by how much it went back.
fn watch(start: Instant, last: &AtomicU64, over: &AtomicBool) -> Option<u64> {
    while !over.load(SeqCst) {
        for _ in 0..500 {
            let before = last.load(SeqCst);
            let now = start.elapsed().as_nanos() as u64;
            if now < before {
                return Some(before - now);
            }
            last.fetch_max(now, SeqCst);
        }
        thread::sleep(Duration::from_millis(2));
    }
    None
}

fn follow(line: &str) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let number = |word: Option<&str>| {
        let word = word.ok_or("a number is missing")?;
        word.parse::<u32>().map_err(|error| format!("`{word}`: {error}"))
    };
    match words.next() {
        Some("set") => {
            let seconds = number(words.next())?;
            super::set_wall(seconds.into(), 0);
            Ok("the wall clock was set".to_owned())
        }
        host => {
            let host = f64::from(number(host)?);
            let own =
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
            match own - host {
                ahead if (-BEHIND..AHEAD).contains(&ahead) => Ok("the wall clock agrees".into()),
                ahead => Err(format!("the wall clock is {ahead:.3} s ahead of the host's")),
            }
        }
    }
}
