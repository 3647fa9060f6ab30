//! Checks the clocks. `clock SECONDS` also holds the wall clock against the host's, given as
//! seconds since 1970; `clock follow` does so again and again.

mod follow;

use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far the wall clock may be from the host's: the run's own time, and the whole seconds that a
/// real-time clock counts in.
const TOLERANCE: u64 = 15;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("follow") {
        return follow::run();
    }
    let host = match std::env::args().nth(1).map(|text| text.parse::<u64>()) {
        None => None,
        Some(Ok(seconds)) => Some(seconds),
        Some(Err(error)) => {
            eprintln!("clock: the argument is not a number of seconds: {error}");
            return ExitCode::from(2);
        }
    };
    if let Some(host) = host {
        let own = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        if own.abs_diff(host) > TOLERANCE {
            println!("failed  the wall clock says {own} s, the host's {host} s");
            return ExitCode::FAILURE;
        }
        println!("ok      the wall clock agrees with the host's");
    }
    check::walk(
        &[
            ("the monotonic clock never goes back", monotonic),
            ("the monotonic clock is finer than a microsecond", resolution),
            ("both clocks run at the same speed", speed),
            ("the wall clock has more than whole seconds", fractions),
            ("sleep lasts as long as asked", sleep),
            ("a sleep of nothing ends at once", no_sleep),
            ("the wall clock does not go back by itself", forward),
            ("the wall clock can be set", set),
        ],
        None,
    )
}

/// Sets the wall clock; tells what the call gives.
fn set_wall(seconds: i64, nanoseconds: i32) -> i32 {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i32,
    }
    unsafe extern "C" {
        fn sys_clock_settime(clock: i32, time: *const Time) -> i32;
    }
    const REALTIME: i32 = 1;
    let time = Time { seconds, nanoseconds };
    // SAFETY: the call reads a time.
    unsafe { sys_clock_settime(REALTIME, &raw const time) }
}

/// Sets the wall clock to what it is not, then back.
fn set() -> io::Result<()> {
    let (now, before) = (SystemTime::now(), Instant::now());
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_err(io::Error::other);
    assert_eq!(set_wall(4_000_000_000, 250_000_000), 0);
    let far = since(SystemTime::now())?.as_secs_f64() - 4e9;
    assert!((0.25..1.0).contains(&far), "{far} s");
    assert!(set_wall(0, 1_000_000_000) != 0, "a second of nanoseconds");
    let now = since(now + before.elapsed())?;
    assert_eq!(set_wall(now.as_secs() as i64, now.subsec_nanos() as i32), 0);
    assert!(before.elapsed() < Duration::from_secs(1), "the monotonic clock was moved");
    Ok(())
}

fn monotonic() -> io::Result<()> {
    let threads = [(); 3].map(|()| {
        thread::spawn(|| {
            let mut last = Instant::now();
            for _ in 0..50_000 {
                let now = Instant::now();
                assert!(now >= last, "{:?} back", last - now);
                last = now;
            }
        })
    });
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a thread panicked"))?;
    }
    Ok(())
}

fn resolution() -> io::Result<()> {
    let step = (0..1_000)
        .map(|_| {
            let start = Instant::now();
            loop {
                let elapsed = start.elapsed();
                if !elapsed.is_zero() {
                    break elapsed;
                }
            }
        })
        .min();
    // An emulated processor may need a few microseconds for the two readings themselves.
    assert!(step < Some(Duration::from_micros(20)), "{step:?}");
    Ok(())
}

fn speed() -> io::Result<()> {
    let (start, start_wall) = (Instant::now(), SystemTime::now());
    thread::sleep(Duration::from_millis(300));
    let elapsed = start.elapsed();
    let wall = start_wall.elapsed().map_err(io::Error::other)?;
    assert!(elapsed.abs_diff(wall) < Duration::from_millis(30), "{elapsed:?} and {wall:?}");
    Ok(())
}

fn forward() -> io::Result<()> {
    let mut last = SystemTime::now();
    let start = Instant::now();
    // Longer than the host's answer is good for.
    while start.elapsed() < Duration::from_millis(2_200) {
        let now = SystemTime::now();
        assert!(now >= last, "{:?} back", last.duration_since(now));
        last = now;
    }
    Ok(())
}

fn fractions() -> io::Result<()> {
    let fraction =
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let one = fraction();
    thread::sleep(Duration::from_millis(3));
    assert_ne!(one, fraction());
    Ok(())
}

fn sleep() -> io::Result<()> {
    for milliseconds in [1, 5, 20, 100] {
        let wanted = Duration::from_millis(milliseconds);
        let start = Instant::now();
        thread::sleep(wanted);
        let slept = start.elapsed();
        assert!(slept >= wanted, "{slept:?} instead of {wanted:?}");
        // The host may be busy: only a gross error counts.
        assert!(slept < wanted + Duration::from_secs(1), "{slept:?} instead of {wanted:?}");
    }
    Ok(())
}

fn no_sleep() -> io::Result<()> {
    let start = Instant::now();
    for _ in 0..100 {
        thread::sleep(Duration::ZERO);
        thread::sleep(Duration::from_nanos(1));
    }
    assert!(start.elapsed() < Duration::from_secs(2));
    Ok(())
}
