//! What a case is given: its seed, its time, and threads that the watchdog looks at.

use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use check::Numbers;

use crate::watchdog::{self, Worker};

/// One run of one case.
pub struct Run {
    seed: u64,
    time: Duration,
    start: Instant,
}

impl Run {
    /// A run that begins now.
    pub fn new(seed: u64, time: Duration) -> Run {
        Run { seed, time, start: Instant::now() }
    }

    /// Whether the time is over.
    pub fn over(&self) -> bool {
        self.start.elapsed() >= self.time
    }

    /// Whether this share of the time is over, in percent.
    pub fn past(&self, percent: u32) -> bool {
        self.start.elapsed() >= self.time * percent / 100
    }

    /// The numbers of one of several uses of the seed.
    pub fn numbers(&self, which: usize) -> Numbers {
        Numbers::new(mix(self.seed.wrapping_add(mix(which as u64 + 1))))
    }

    /// The processors that the program may use.
    pub fn processors(&self) -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }

    /// A number of threads: more than the processors, and not always the same.
    pub fn threads(&self) -> usize {
        2 * self.processors() + 2 + self.numbers(usize::MAX - 1).below(4)
    }

    /// Runs threads that all end before this returns.
    pub fn crew<'env, T>(&'env self, body: impl for<'scope> FnOnce(&Crew<'scope, 'env>) -> T) -> T {
        thread::scope(|scope| body(&Crew { scope }))
    }
}

/// Neighbouring numbers become unlike ones (Steele et al., "Fast Splittable Pseudorandom Number
/// Generators", the function `mix64`).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Threads of a case.
pub struct Crew<'scope, 'env: 'scope> {
    scope: &'scope Scope<'scope, 'env>,
}

impl<'scope> Crew<'scope, '_> {
    /// Starts a thread that the watchdog knows by its role.
    pub fn spawn<T: Send + 'scope>(
        &self,
        role: &str,
        work: impl FnOnce(&Worker) -> T + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        let worker: Arc<Worker> = watchdog::enter(role);
        thread::Builder::new()
            .name(worker.name().to_owned())
            .spawn_scoped(self.scope, move || {
                let result = work(&worker);
                worker.done();
                result
            })
            .expect("a thread of a case starts")
    }
}

/// Goes round for a while without any call.
pub fn spin(rounds: usize) {
    for round in 0..rounds {
        std::hint::black_box(round);
    }
}

/// Spins, yields, sleeps or does nothing, as the numbers have it.
pub fn dawdle(numbers: &mut Numbers) {
    match numbers.below(40) {
        0 => thread::sleep(Duration::from_micros(numbers.below(300) as u64)),
        1..4 => thread::yield_now(),
        4..10 => spin(numbers.below(2_000)),
        _ => {}
    }
}
