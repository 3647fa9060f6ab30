//! Thread-local values.

use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::memory;
use crate::run::{Run, dawdle};

static MADE: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static LAST_WORDS: Mutex<u64> = Mutex::new(0);

/// Counts itself, and uses another local, a lock and memory when it goes.
struct Counted(u64);

impl Counted {
    fn new(number: u64) -> Counted {
        MADE.fetch_add(1, Relaxed);
        Counted(number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let text = PLAIN.with(|plain| format!("{} {}", self.0, plain.get()));
        assert_eq!(text, format!("{0} {0}", self.0), "another thread's local");
        *LAST_WORDS.lock().expect("no destructor panics") += 1;
        DROPPED.fetch_add(1, Relaxed);
    }
}

/// Starts on a cache line of its own.
#[repr(align(64))]
struct Aligned(Cell<u64>);

thread_local! {
    static PLAIN: Cell<u64> = const { Cell::new(7) };
    static LAZY: RefCell<Vec<u64>> = RefCell::new(vec![7; 3]);
    static ALIGNED: Aligned = const { Aligned(Cell::new(7)) };
    static COUNTED: RefCell<Option<Counted>> = const { RefCell::new(None) };
    static LAZY_COUNTED: Counted = Counted::new(PLAIN.get());
}

/// What each short thread does.
fn live(number: u64, mut numbers: check::Numbers) {
    assert_eq!((PLAIN.get(), LAZY.take()), (7, vec![7; 3]), "a new thread's locals are not new");
    ALIGNED.with(|aligned| {
        assert!((&raw const *aligned).addr().is_multiple_of(64), "a local is not aligned");
        assert_eq!(aligned.0.replace(number), 7);
    });
    PLAIN.set(number);
    LAZY.set(vec![number; 10]);
    COUNTED.set(Some(Counted::new(number)));
    LAZY_COUNTED.with(|_| ());
    for _ in 0..10 {
        dawdle(&mut numbers);
        assert_eq!(PLAIN.get(), number, "another thread's local");
        ALIGNED.with(|aligned| assert_eq!(aligned.0.get(), number, "another thread's local"));
        LAZY.with_borrow(|list| assert!(list.iter().all(|&one| one == number), "another's list"));
    }
}

pub fn locals(run: &Run) -> String {
    for counter in [&MADE, &DROPPED] {
        counter.store(0, Relaxed);
    }
    *LAST_WORDS.lock().expect("no destructor panics") = 0;
    let generations = |percent: u32, first: usize| {
        run.crew(|crew| {
            for number in 0..run.threads() {
                let mut numbers = run.numbers(first + number);
                crew.spawn("parent", move |worker| {
                    while !run.past(percent) {
                        let children = (0..1 + numbers.below(6)).map(|_| {
                            let number = numbers.below(1 << 40) as u64;
                            let own = check::Numbers::new(number);
                            thread::spawn(move || live(number, own))
                        });
                        for child in children.collect::<Vec<_>>() {
                            child.join().expect("the thread is well");
                            worker.step();
                        }
                    }
                });
            }
        });
    };
    generations(20, 0);
    let before = memory::free();
    generations(100, 1_000);
    memory::comes_back(before, "after threads with locals");
    let (made, dropped) = (MADE.load(Relaxed), DROPPED.load(Relaxed));
    // A thread has ended for `join` when its destructors have run.
    assert_eq!(made, dropped, "locals that were made and dropped");
    assert_eq!(dropped, *LAST_WORDS.lock().expect("no destructor panics"));
    format!("{made} locals made and dropped")
}
