//! Time: sleeps under load, and clocks that several threads look at.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::run::{Run, spin};

/// Later than this is wrong on the busiest host.
const MUCH_TOO_LATE: Duration = Duration::from_secs(2);
/// Half of all waits end sooner after their time than this: several time slices.
const USUAL: Duration = Duration::from_millis(500);

pub fn timers(run: &Run) -> String {
    let (stop, never) = (AtomicBool::new(false), (Mutex::new(()), Condvar::new()));
    let mut late = run.crew(|crew| {
        // More busy threads than processors.
        for _ in 0..run.processors() + 1 {
            crew.spawn("busy", |_| {
                while !stop.load(Relaxed) {
                    spin(1_000);
                }
            });
        }
        let sleepers = (0..run.threads()).map(|number| {
            let (mut numbers, never) = (run.numbers(number), &never);
            crew.spawn("sleeper", move |worker| {
                let mut late = Vec::new();
                while !run.over() {
                    let wait = Duration::from_micros(match numbers.below(4) {
                        0 => 0,
                        1 => numbers.below(300),
                        _ => numbers.below(30_000),
                    } as u64);
                    let deadline = Instant::now() + wait;
                    match numbers.below(3) {
                        0 => thread::sleep(wait),
                        1 => {
                            let guard = never.0.lock().expect("no thread panics");
                            let waited = never.1.wait_timeout_while(guard, wait, |()| true);
                            assert!(waited.expect("no thread panics").1.timed_out());
                        }
                        _ => {
                            // A park may end early, and is then begun again.
                            while let left = deadline.saturating_duration_since(Instant::now())
                                && !left.is_zero()
                            {
                                thread::park_timeout(left);
                            }
                        }
                    }
                    let now = Instant::now();
                    assert!(
                        now >= deadline,
                        "a wait of {wait:?} ended {:?} too early",
                        deadline - now
                    );
                    late.push(now - deadline);
                    assert!(
                        now - deadline < MUCH_TOO_LATE,
                        "a wait of {wait:?} ended {:?} late",
                        now - deadline
                    );
                    worker.step();
                }
                late
            })
        });
        let sleepers = sleepers.collect::<Vec<_>>();
        let late =
            sleepers.into_iter().flat_map(|sleeper| sleeper.join().expect("no thread panics"));
        let late = late.collect::<Vec<_>>();
        stop.store(true, Relaxed);
        late
    });
    late.sort();
    let (median, most) = (late[late.len() / 2], late[late.len() - 1]);
    assert!(median < USUAL, "half of the waits ended more than {median:?} late");
    format!("{} waits, {median:?} late (median), {most:?} at most", late.len())
}

pub fn clock(run: &Run) -> String {
    let base = Instant::now();
    let (wall, latest) = (SystemTime::now(), AtomicU64::new(0));
    let looks = AtomicU64::new(0);
    let (sender, receiver) = mpsc::channel::<Instant>();
    let receiver = Mutex::new(receiver);
    run.crew(|crew| {
        for number in 0..run.processors() + 2 {
            let (mut numbers, sender) = (run.numbers(number), sender.clone());
            let (latest, receiver, looks) = (&latest, &receiver, &looks);
            crew.spawn("looker", move |worker| {
                while !run.over() {
                    for _ in 0..200 {
                        let before = latest.load(SeqCst);
                        let now = base.elapsed().as_nanos() as u64;
                        assert!(
                            now >= before,
                            "time went back by {} ns between threads",
                            before - now
                        );
                        latest.fetch_max(now, SeqCst);
                    }
                    looks.fetch_add(200, Relaxed);
                    sender.send(Instant::now()).expect("the receiver is there");
                    let sent = receiver.lock().expect("no thread panics").try_recv();
                    if let Ok(sent) = sent {
                        let now = Instant::now();
                        assert!(now >= sent, "time went back by {:?} on the way", sent - now);
                    }
                    worker.step();
                    if numbers.below(20) == 0 {
                        thread::sleep(Duration::from_micros(numbers.below(500) as u64));
                    }
                }
            });
        }
    });
    // Both clocks go at the same pace. On the host, somebody may set the one.
    let (mono, wall) = (base.elapsed(), wall.elapsed());
    if cfg!(target_os = "hermit") {
        let wall = wall.expect("the wall clock does not go back");
        let off = wall.abs_diff(mono);
        assert!(
            off < Duration::from_millis(50) + mono / 100,
            "{mono:?} on one clock, {wall:?} on the other"
        );
    }
    format!("{} looks", looks.into_inner())
}
