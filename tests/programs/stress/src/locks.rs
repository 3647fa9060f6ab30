//! Mutual exclusion, condition variables, barriers, read-write locks, initialization.

use std::cell::UnsafeCell;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock};
use std::time::Duration;
use std::{iter, thread};

use crate::run::{Run, dawdle, spin};

/// A number that is only right when nobody disturbs the one who counts.
#[derive(Default)]
struct Plain(UnsafeCell<u64>);

// SAFETY: every use is under a lock.
unsafe impl Sync for Plain {}

impl Plain {
    /// Adds one, slowly. The caller holds the lock that protects it.
    fn add(&self, spins: usize) {
        // SAFETY: the caller's lock excludes all others.
        unsafe {
            let value = self.0.get().read_volatile();
            spin(spins);
            self.0.get().write_volatile(value + 1);
        }
    }
}

pub fn mutex(run: &Run) -> String {
    let pairs =
        iter::repeat_with(|| (Mutex::new(0_u64), Plain::default())).take(3).collect::<Vec<_>>();
    let refused = AtomicU64::new(0);
    let added = run.crew(|crew| {
        let threads = (0..run.threads()).map(|number| {
            let (mut numbers, pairs, refused) = (run.numbers(number), &pairs, &refused);
            crew.spawn("locker", move |worker| {
                let mut added = [0_u64; 3];
                while !run.over() {
                    let which = numbers.below(3);
                    let (lock, plain) = &pairs[which];
                    let guard =
                        if numbers.below(5) == 0 { lock.try_lock().ok() } else { lock.lock().ok() };
                    let Some(mut guard) = guard else {
                        refused.fetch_add(1, Relaxed);
                        continue;
                    };
                    plain.add(numbers.below(200));
                    *guard += 1;
                    if numbers.below(50) == 0 {
                        dawdle(&mut numbers);
                    }
                    drop(guard);
                    added[which] += 1;
                    worker.step();
                    if numbers.below(20) == 0 {
                        dawdle(&mut numbers);
                    }
                }
                added
            })
        });
        let threads = threads.collect::<Vec<_>>();
        threads.into_iter().fold([0; 3], |sum, thread| {
            let added = thread.join().expect("no thread panics");
            [0, 1, 2].map(|which| sum[which] + added[which])
        })
    });
    for ((lock, plain), added) in pairs.into_iter().zip(added) {
        let counted = (lock.into_inner().ok(), plain.0.into_inner());
        assert_eq!(counted, (Some(added), added), "two threads were inside at a time");
    }
    format!("{} times locked, {} times refused", added.iter().sum::<u64>(), refused.into_inner())
}

/// What two condition variables wait for.
struct Queue {
    items: Vec<u64>,
    producers: usize,
}

pub fn condvar(run: &Run) -> String {
    let (mut rounds, mut moved) = (0_u64, 0_u64);
    let mut numbers = run.numbers(0);
    while rounds == 0 || !run.over() {
        let capacity = 1 + numbers.below(8);
        let (producers, consumers) =
            (1 + numbers.below(run.threads()), 1 + numbers.below(run.threads()));
        let each = 50 + numbers.below(200) as u64;
        let queue = Mutex::new(Queue { items: Vec::new(), producers });
        let (filled, emptied) = (Condvar::new(), Condvar::new());
        let sums = run.crew(|crew| {
            for producer in 0..producers as u64 {
                let (queue, filled, emptied) = (&queue, &filled, &emptied);
                crew.spawn("producer", move |worker| {
                    for item in producer * each..(producer + 1) * each {
                        let guard = queue.lock().expect("no thread panics");
                        let full = |queue: &mut Queue| queue.items.len() >= capacity;
                        let mut guard = emptied.wait_while(guard, full).expect("as above");
                        guard.items.push(item);
                        drop(guard);
                        filled.notify_one();
                        worker.step();
                    }
                    let mut guard = queue.lock().expect("no thread panics");
                    guard.producers -= 1;
                    if guard.producers == 0 {
                        filled.notify_all();
                    }
                });
            }
            let consumers = (0..consumers).map(|consumer| {
                let (queue, filled, emptied) = (&queue, &filled, &emptied);
                let mut numbers = run.numbers(1_000 + consumer);
                crew.spawn("consumer", move |worker| {
                    let (mut sum, mut squares) = (0_u64, 0_u64);
                    loop {
                        let mut guard = queue.lock().expect("no thread panics");
                        while guard.items.is_empty() && guard.producers > 0 {
                            guard = if numbers.below(3) == 0 {
                                let short = Duration::from_micros(numbers.below(500) as u64);
                                filled.wait_timeout(guard, short).expect("as above").0
                            } else {
                                filled.wait(guard).expect("as above")
                            };
                        }
                        let Some(item) = guard.items.pop() else { break };
                        drop(guard);
                        emptied.notify_one();
                        sum += item;
                        squares += item * item;
                        worker.step();
                        dawdle(&mut numbers);
                    }
                    (sum, squares)
                })
            });
            let consumers = consumers.collect::<Vec<_>>();
            consumers.into_iter().fold((0, 0), |(sum, squares), consumer| {
                let own = consumer.join().expect("no thread panics");
                (sum + own.0, squares + own.1)
            })
        });
        let items = 0..producers as u64 * each;
        moved += items.end;
        let expected = (items.clone().sum(), items.map(|item| item * item).sum());
        assert_eq!(sums, expected, "items were lost or taken twice");
        rounds += 1;
    }
    format!("{moved} items in {rounds} rounds")
}

pub fn barrier(run: &Run) -> String {
    let threads = run.threads();
    let (barrier, stop) = (Barrier::new(threads), AtomicBool::new(false));
    let (places, leaders) =
        ((0..threads).map(|_| AtomicU64::new(0)).collect::<Vec<_>>(), AtomicU64::new(0));
    run.crew(|crew| {
        for number in 0..threads {
            let (mut numbers, places) = (run.numbers(number), &places);
            let (barrier, leaders, stop) = (&barrier, &leaders, &stop);
            crew.spawn("member", move |worker| {
                for generation in 1.. {
                    dawdle(&mut numbers);
                    places[number].store(generation, Relaxed);
                    if barrier.wait().is_leader() {
                        leaders.fetch_add(1, Relaxed);
                        stop.store(run.over(), Relaxed);
                    }
                    for place in places {
                        assert_eq!(
                            place.load(Relaxed),
                            generation,
                            "a thread is in another generation"
                        );
                    }
                    worker.step();
                    barrier.wait();
                    if stop.load(Relaxed) {
                        return;
                    }
                }
            });
        }
    });
    let generations = places[0].load(Relaxed);
    assert_eq!(leaders.into_inner(), generations, "each generation has one leader");
    format!("{generations} generations of {threads} threads")
}

pub fn rwlock(run: &Run) -> String {
    let (lock, inside, most) = (RwLock::new([0_u64; 16]), AtomicI64::new(0), AtomicI64::new(0));
    let (reads, writes) = (AtomicU64::new(0), AtomicU64::new(0));
    run.crew(|crew| {
        for number in 0..run.threads() {
            let mut numbers = run.numbers(number);
            let (lock, inside, most) = (&lock, &inside, &most);
            let (reads, writes) = (&reads, &writes);
            crew.spawn("reader-writer", move |worker| {
                while !run.over() {
                    if numbers.below(8) == 0 {
                        let Ok(mut values) = lock.write() else { panic!("the lock is poisoned") };
                        assert_eq!(inside.swap(-1, SeqCst), 0, "a writer has company");
                        for value in &mut *values {
                            *value += 1;
                            spin(numbers.below(30));
                        }
                        inside.store(0, SeqCst);
                        writes.fetch_add(1, Relaxed);
                    } else {
                        let guard = if numbers.below(4) == 0 {
                            lock.try_read().ok()
                        } else {
                            lock.read().ok()
                        };
                        let Some(values) = guard else { continue };
                        let company = inside.fetch_add(1, SeqCst);
                        assert!(company >= 0, "a reader is beside a writer");
                        most.fetch_max(company + 1, Relaxed);
                        spin(numbers.below(300));
                        assert!(
                            values.iter().all(|value| *value == values[0]),
                            "half a write: {values:?}"
                        );
                        inside.fetch_sub(1, SeqCst);
                        reads.fetch_add(1, Relaxed);
                    }
                    worker.step();
                    dawdle(&mut numbers);
                }
            });
        }
    });
    let (reads, writes) = (reads.into_inner(), writes.into_inner());
    let values = lock.into_inner().ok();
    assert_eq!(values, Some([writes; 16]), "writes were lost");
    format!("{reads} reads, {writes} writes, up to {} readers at a time", most.into_inner())
}

/// What one initialization after the other is shared in.
struct Fresh {
    cell: OnceLock<u64>,
    once: Once,
    lazy: LazyLock<u64>,
    calls: AtomicU64,
    finished: AtomicU64,
}

pub fn once(run: &Run) -> String {
    let threads = run.threads();
    let (barrier, current) = (Barrier::new(threads), Mutex::new(None::<Arc<Fresh>>));
    let rounds = AtomicU64::new(0);
    run.crew(|crew| {
        for number in 0..threads {
            let mut numbers = run.numbers(number);
            let (barrier, current, rounds) = (&barrier, &current, &rounds);
            crew.spawn("initializer", move |worker| {
                loop {
                    if barrier.wait().is_leader() {
                        rounds.fetch_add(1, Relaxed);
                        *current.lock().expect("no thread panics") = (!run.over()).then(|| {
                            Arc::new(Fresh {
                                cell: OnceLock::new(),
                                once: Once::new(),
                                lazy: LazyLock::new(|| {
                                    thread::yield_now();
                                    5
                                }),
                                calls: AtomicU64::new(0),
                                finished: AtomicU64::new(0),
                            })
                        });
                    }
                    barrier.wait();
                    let Some(fresh) = current.lock().expect("no thread panics").clone() else {
                        return;
                    };
                    dawdle(&mut numbers);
                    let value = *fresh.cell.get_or_init(|| {
                        dawdle(&mut numbers);
                        fresh.calls.fetch_add(1, Relaxed)
                    });
                    assert_eq!((value, fresh.calls.load(Relaxed)), (0, 1), "initialized twice");
                    assert_eq!(*fresh.lazy, 5);
                    // The first one or two unwind, the next one finishes.
                    let unwinds = numbers.below(3) > 0;
                    let mut called = false;
                    let end = catch_unwind(std::panic::AssertUnwindSafe(|| {
                        fresh.once.call_once_force(|_| {
                            called = true;
                            thread::yield_now();
                            if unwinds {
                                resume_unwind(Box::new("unwound"));
                            }
                            fresh.finished.fetch_add(1, Relaxed);
                        });
                    }));
                    assert_eq!(
                        end.is_err(),
                        called && unwinds,
                        "who is called may unwind, nobody else"
                    );
                    if end.is_ok() {
                        assert_eq!(
                            fresh.finished.load(Relaxed),
                            1,
                            "initialized twice, or not at all"
                        );
                    }
                    worker.step();
                }
            });
        }
    });
    format!("{} rounds of {threads} threads", rounds.into_inner() - 1)
}
