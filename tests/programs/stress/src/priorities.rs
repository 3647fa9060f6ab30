//! Priorities, which std does not know: through Skete's own calls.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Barrier, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::run::{Run, dawdle, spin};

/// The highest priority.
pub const HIGHEST: u8 = 31;
/// The priority of a thread that asked for none.
const NORMAL: u8 = 2;

#[cfg(target_os = "hermit")]
mod calls {
    unsafe extern "C" {
        pub safe fn sys_getpid() -> i32;
        pub safe fn sys_get_priority() -> u8;
        pub safe fn sys_set_priority(thread: u32, priority: u8);
    }
}

/// The host's threads are all alike.
#[cfg(not(target_os = "hermit"))]
mod calls {
    use std::cell::Cell;

    thread_local!(static PRIORITY: Cell<u8> = const { Cell::new(super::NORMAL) });

    pub fn sys_getpid() -> i32 {
        0
    }

    pub fn sys_get_priority() -> u8 {
        PRIORITY.get()
    }

    pub fn sys_set_priority(_thread: u32, priority: u8) {
        PRIORITY.set(priority);
    }
}

fn own() -> u32 {
    calls::sys_getpid().cast_unsigned()
}

/// Gives the calling thread a priority.
pub fn set_own(priority: u8) {
    calls::sys_set_priority(own(), priority);
    assert_eq!(
        calls::sys_get_priority(),
        priority,
        "a thread has not the priority that it was given"
    );
}

pub fn priorities(run: &Run) -> String {
    let changes = shuffle(run);
    let (high, low) = shares(run);
    set_own(NORMAL);
    format!("{changes} changes; rounds at high priority {high}, at low {low}")
}

/// Changes the priorities of threads that wait for each other, whatever they are at.
fn shuffle(run: &Run) -> u64 {
    let count = run.threads();
    let ids = (0..count).map(|_| AtomicU32::new(0)).collect::<Vec<_>>();
    let (turn, changed, ready) = (Mutex::new(0_usize), Condvar::new(), Barrier::new(count + 1));
    run.crew(|crew| {
        for number in 0..count {
            let (ids, turn, changed, ready) = (&ids, &turn, &changed, &ready);
            let mut numbers = run.numbers(number);
            crew.spawn("member", move |worker| {
                ids[number].store(own(), SeqCst);
                ready.wait();
                // Round and round: a thread that is lost stops all of them.
                loop {
                    let guard = turn.lock().expect("no thread panics");
                    let not_mine = |turn: &mut usize| *turn % count != number;
                    let mut guard = changed.wait_while(guard, not_mine).expect("no thread panics");
                    *guard += 1;
                    // Looked at in turn: who comes after this sees that the time is over, too.
                    let last = run.past(50);
                    drop(guard);
                    changed.notify_all();
                    worker.step();
                    if last {
                        return;
                    }
                    dawdle(&mut numbers);
                }
            });
        }
        let (ids, ready, mut numbers) = (&ids, &ready, run.numbers(1_000));
        let controller = crew.spawn("controller", move |worker| {
            set_own(HIGHEST);
            ready.wait();
            let mut changes = 0;
            while !run.past(50) {
                let id = ids[numbers.below(count)].load(SeqCst);
                calls::sys_set_priority(id, 1 + numbers.below(usize::from(HIGHEST) - 1) as u8);
                // That was the controller's own, where there are no others.
                if cfg!(not(target_os = "hermit")) {
                    set_own(HIGHEST);
                }
                changes += 1;
                worker.step();
                if numbers.below(4) == 0 {
                    thread::sleep(Duration::from_micros(numbers.below(300) as u64));
                }
            }
            changes
        });
        controller.join().expect("no thread panics")
    })
}

/// As many busy threads of high priority as there are processors, and others of low priority.
fn shares(run: &Run) -> (u64, u64) {
    let (stop, ready) = (AtomicBool::new(false), Barrier::new(2 * run.processors() + 2));
    let count = |places: usize| (0..places).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    let (high, low) = (count(run.processors()), count(run.processors() + 1));
    let before = AtomicU64::new(0);
    run.crew(|crew| {
        set_own(HIGHEST);
        for (priority, counts) in [(NORMAL + 2, &high), (NORMAL - 1, &low)] {
            for count in counts {
                let (stop, ready) = (&stop, &ready);
                crew.spawn("busy", move |worker| {
                    ready.wait();
                    set_own(priority);
                    while !stop.load(Relaxed) {
                        spin(500);
                        count.fetch_add(1, Relaxed);
                        worker.step();
                    }
                });
            }
        }
        ready.wait();
        // Until all have the priority that they gave themselves: a loaded host lets a processor wait.
        for _ in 0..100 {
            thread::sleep(Duration::from_millis(30));
            if high.iter().all(|count| count.load(Relaxed) > 0) {
                break;
            }
        }
        before.store(low.iter().map(|count| count.load(Relaxed)).sum(), Relaxed);
        let first = high.iter().map(|count| count.swap(0, Relaxed)).collect::<Vec<_>>();
        while !run.over() {
            thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Relaxed);
        assert!(
            cfg!(not(target_os = "hermit")) || first.iter().all(|count| *count > 0),
            "{first:?}"
        );
    });
    let low = low.iter().map(|count| count.load(Relaxed)).sum::<u64>() - before.into_inner();
    let high = high.into_iter().map(AtomicU64::into_inner).collect::<Vec<_>>();
    let (sum, least) = (high.iter().sum::<u64>(), high.iter().min().copied().unwrap_or_default());
    if cfg!(target_os = "hermit") {
        // Threads of high priority leave nothing on one processor, and little where they have to be moved.
        assert!(least > 0, "a thread of high priority stood still: {high:?}");
        let allowed = if run.processors() == 1 { sum / 50 + 100 } else { sum };
        assert!(
            low <= allowed,
            "threads of low priority had {low} rounds, those of high priority {high:?}"
        );
    }
    (sum, low)
}
