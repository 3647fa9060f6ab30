//! Threads that start threads.

use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use check::Numbers;

use crate::memory;
use crate::run::{Run, spin};

/// Nodes that a tree may have.
const NODES: u64 = 120;

/// What a node of a tree tells its parent: how many nodes there are below it, and itself.
type Node = JoinHandle<u64>;

/// Starts a node of a tree; a third of the nodes end by unwinding, with the same number.
fn node(born: &Arc<AtomicU64>, depth: usize, mut numbers: Numbers) -> Node {
    let builder = match numbers.below(4) {
        0 => Builder::new().stack_size(numbers.below(512 << 10)),
        1 => Builder::new().name(format!("node of depth {depth}")),
        _ => Builder::new(),
    };
    let born = Arc::clone(born);
    let body = move || {
        let mut children = Vec::new();
        let mut count = 1;
        for _ in 0..numbers.below(5) {
            if depth > 0 && born.fetch_add(1, Relaxed) < NODES {
                let seed = numbers.below(usize::MAX) as u64;
                children.push(node(&born, depth - 1, Numbers::new(seed)));
            }
        }
        spin(numbers.below(3_000));
        while !children.is_empty() {
            let child = children.swap_remove(numbers.below(children.len()));
            count += joined(child);
        }
        if numbers.below(3) == 0 {
            resume_unwind(Box::new(count));
        }
        count
    };
    builder.spawn(body).expect("a thread of a tree starts")
}

fn joined(node: Node) -> u64 {
    match node.join() {
        Ok(count) => count,
        Err(payload) => *payload.downcast::<u64>().expect("a thread unwinds with its number"),
    }
}

/// Threads that nobody joins: how many were started, and how many have come to their end.
#[derive(Default)]
struct Detached {
    started: AtomicU64,
    ended: AtomicU64,
}

impl Detached {
    /// Starts one, which may start more.
    fn start(self: &Arc<Self>, mut numbers: Numbers) {
        self.started.fetch_add(1, SeqCst);
        let counts = Arc::clone(self);
        thread::spawn(move || {
            while numbers.below(4) == 0 {
                counts.start(Numbers::new(numbers.below(usize::MAX) as u64));
            }
            counts.ended.fetch_add(1, SeqCst);
        });
    }

    /// Waits until not more than `left` have yet to end; gives the number of all.
    fn wait(&self, left: u64) -> u64 {
        loop {
            // In this order: who has ended has counted those that it started.
            let ended = self.ended.load(SeqCst);
            let started = self.started.load(SeqCst);
            if started - ended <= left {
                return started;
            }
            thread::yield_now();
        }
    }
}

pub fn storm(run: &Run) -> String {
    let (joins, detached) = (AtomicU64::new(0), AtomicU64::new(0));
    let round = |numbers: &mut Numbers| {
        let born = Arc::new(AtomicU64::new(1));
        let count = joined(node(&born, 4, Numbers::new(numbers.below(usize::MAX) as u64)));
        // Who was refused for being one too many was counted too.
        assert_eq!(count, born.load(Relaxed).min(NODES), "threads of a tree were lost");
        joins.fetch_add(count, Relaxed);

        let alone = Arc::new(Detached::default());
        for _ in 0..numbers.below(30) {
            alone.start(Numbers::new(numbers.below(usize::MAX) as u64));
        }
        detached.fetch_add(alone.wait(0), Relaxed);
    };
    let workers = run.processors() + 1;
    let storms = |percent: u32, first: usize| {
        run.crew(|crew| {
            for number in 0..workers {
                let (round, mut numbers) = (&round, run.numbers(first + number));
                crew.spawn("storm", move |worker| {
                    loop {
                        round(&mut numbers);
                        worker.step();
                        if run.past(percent) {
                            break;
                        }
                    }
                });
            }
        });
    };
    storms(20, 0);
    let before = memory::free();
    storms(100, workers);
    memory::comes_back(before, "after many threads");
    format!("{} threads joined, {} detached", joins.into_inner(), detached.into_inner())
}

pub fn million(run: &Run) -> String {
    const THREADS: u64 = 1_000_000;
    const STARTERS: u64 = 8;
    let start = |count: u64| {
        run.crew(|crew| {
            for number in 0..STARTERS {
                crew.spawn("starter", move |worker| {
                    let alone = Arc::new(Detached::default());
                    for one in 0..count / STARTERS {
                        worker.step();
                        if (number + one) % 2 == 0 {
                            let thread = thread::spawn(move || one);
                            assert_eq!(thread.join().ok(), Some(one));
                        } else {
                            alone.started.fetch_add(1, SeqCst);
                            let counts = Arc::clone(&alone);
                            thread::spawn(move || counts.ended.fetch_add(1, SeqCst));
                            alone.wait(16);
                        }
                    }
                    alone.wait(0);
                });
            }
        });
    };
    start(THREADS / 10);
    let before = memory::free();
    start(THREADS - THREADS / 10);
    memory::comes_back(before, "after a million threads");
    format!("{THREADS} threads, half of them joined")
}

/// Holds threads back until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let open = self.open.lock().expect("no thread panics at the gate");
        drop(self.changed.wait_while(open, |open| !*open).expect("as above"));
    }

    fn open(&self) {
        *self.open.lock().expect("no thread panics at the gate") = true;
        self.changed.notify_all();
    }
}

pub fn many(run: &Run) -> String {
    // In a smaller machine fewer: each takes a few pages.
    let count = (memory::total().saturating_sub(16 << 20) / (96 << 10)).min(10_000);
    let mut rounds = 0_u64;
    loop {
        let (gate, waiting) = (Arc::new(Gate::default()), Arc::new(AtomicU64::new(0)));
        let all = Arc::new(Barrier::new(count as usize + 1));
        let (worker, mut threads) = (crate::watchdog::enter("starter"), Vec::new());
        for number in 0..count {
            let (gate, waiting, all) = (Arc::clone(&gate), Arc::clone(&waiting), Arc::clone(&all));
            threads.push(thread::spawn(move || {
                let own = [number; 32];
                waiting.fetch_add(1, SeqCst);
                gate.pass();
                all.wait();
                std::hint::black_box(&own).iter().sum::<u64>()
            }));
            worker.step();
        }
        while waiting.load(SeqCst) < count {
            thread::sleep(Duration::from_millis(1));
        }
        worker.step();
        gate.open();
        all.wait();
        for (thread, number) in threads.into_iter().zip(0..) {
            assert_eq!(thread.join().ok(), Some(32 * number), "thread {number} has lost its stack");
            worker.step();
        }
        worker.done();
        rounds += 1;
        if run.over() {
            return format!("{count} threads at once, {rounds} times");
        }
    }
}

pub fn limit(run: &Run) -> String {
    const SIZES: [usize; 3] = [64 << 10, 1 << 20, 3 << 20];
    // Page tables may be kept: at first each size of stack needs more of them.
    const WARM: usize = 2 * SIZES.len();
    if cfg!(not(target_os = "hermit")) {
        return "nothing done: the host's limit is for all its programs".to_owned();
    }
    let mut numbers = run.numbers(0);
    let (mut counts, worker) = (Vec::new(), crate::watchdog::enter("starter"));
    let (untouched, mut before) = (memory::free(), 0);
    while counts.len() <= WARM || !run.over() {
        // All but some memory is taken, so that the limit is not far.
        let taken = memory::free().saturating_sub(24 << 20) as usize;
        let ballast = vec![1_u8; taken];
        let (gate, mut threads) = (Arc::new(Gate::default()), Vec::new());
        let which = if counts.len() < WARM {
            counts.len() % SIZES.len()
        } else {
            numbers.below(SIZES.len())
        };
        let size = SIZES[which];
        let error = loop {
            let (gate, number) = (Arc::clone(&gate), threads.len());
            let body = move || {
                gate.pass();
                number
            };
            match Builder::new().stack_size(size).spawn(body) {
                Ok(thread) => threads.push(thread),
                Err(error) => break error,
            }
            worker.step();
        };
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::OutOfMemory | ErrorKind::WouldBlock), "{error:?}");
        // There is memory to go on with.
        let words = (0..1_000).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(words.concat().len(), 10 + 180 + 2_700);
        gate.open();
        counts.push(threads.len());
        for (thread, number) in threads.into_iter().zip(0..) {
            assert_eq!(thread.join().ok(), Some(number));
            worker.step();
        }
        drop(ballast);
        thread::spawn(|| ()).join().expect("threads start again");
        if counts.len() == WARM {
            before = memory::free();
        }
    }
    worker.done();
    memory::comes_back(before, "after too many threads");
    let (least, most) = (counts.iter().min(), counts.iter().max());
    let (Some(&least), Some(&most)) = (least, most) else { unreachable!() };
    assert!(least * 4 >= most, "each time fewer threads start: {counts:?}");
    let kept = untouched.saturating_sub(memory::free()) >> 10;
    format!("{least} to {most} threads, {} times; {kept} KiB are kept", counts.len())
}
