//! Memory that is mapped, used by several threads, and unmapped: an address soon means another frame, and
//! no processor may go on with the old one (its TLB keeps translations).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;

use check::Numbers;

use crate::run::{Run, spin};

const PAGE: usize = 4_096;

/// A block larger than what the allocator serves from its lists: it has pages of its own.
struct Pages(Vec<u8>);

impl Pages {
    fn new(numbers: &mut Numbers) -> Pages {
        let most = if numbers.below(8) == 0 { 1_000 } else { 80 };
        let pages = 40 + numbers.below(most);
        Pages(vec![0; pages * PAGE])
    }

    /// Writes to a place of each page.
    fn write(&mut self, mark: u64) {
        for (number, page) in self.0.chunks_exact_mut(PAGE).enumerate() {
            let (word, _) = page[place(number)..].split_first_chunk_mut().expect("inside the page");
            *word = (mark + number as u64).to_le_bytes();
        }
    }

    /// Looks at what [`Pages::write`] wrote.
    fn verify(&self, mark: u64, who: &str) {
        for (number, page) in self.0.chunks_exact(PAGE).enumerate() {
            let (word, _) = page[place(number)..].split_first_chunk().expect("inside the page");
            let found = u64::from_le_bytes(*word);
            let wanted = mark + number as u64;
            assert_eq!(
                found,
                wanted,
                "{who}: page {number} of {:p} is not what was written",
                self.0.as_ptr()
            );
        }
    }
}

fn place(page: usize) -> usize {
    page * 72 % (PAGE - 8)
}

/// Maps, lets another thread look and write, and unmaps; the next one often has the same address.
fn exchange<'scope>(
    run: &'scope Run,
    crew: &crate::run::Crew<'scope, '_>,
    pair: usize,
    count: &'scope AtomicU64,
) {
    let (there, arrivals) = mpsc::channel::<(Pages, u64)>();
    let (back, returns) = mpsc::channel::<(Pages, u64)>();
    let mut numbers = run.numbers(pair);
    crew.spawn("mapper", move |worker| {
        let mut kept = Vec::new();
        while !run.over() {
            let mut pages = Pages::new(&mut numbers);
            assert!(
                pages.0.iter().step_by(PAGE).all(|byte| *byte == 0),
                "a fresh page is not zero"
            );
            let mark = numbers.below(1 << 50) as u64;
            pages.write(mark);
            there.send((pages, mark)).expect("the other one is there");
            let (pages, mark) = returns.recv().expect("the other one is there");
            pages.verify(mark, "mapper");
            count.fetch_add(1, Relaxed);
            worker.step();
            // Most are unmapped at once, some later and in another order.
            if numbers.below(6) == 0 {
                kept.push((pages, mark));
            }
            if kept.len() > 3 {
                let (pages, mark) = kept.swap_remove(numbers.below(kept.len()));
                pages.verify(mark, "keeper");
            }
        }
    });
    let mut numbers = run.numbers(500 + pair);
    crew.spawn("user", move |worker| {
        for (mut pages, mark) in arrivals {
            pages.verify(mark, "user");
            let mark = numbers.below(1 << 50) as u64;
            pages.write(mark);
            worker.step();
            if numbers.below(8) == 0 {
                // Unmapped by the thread that did not map it; a new one goes back.
                drop(pages);
                pages = Pages::new(&mut numbers);
                pages.write(mark);
            }
            back.send((pages, mark)).expect("the other one is there");
        }
    });
}

/// Starts threads that let others look at their stacks.
fn stacks(run: &Run, number: usize, worker: &crate::watchdog::Worker, count: &AtomicU64) {
    const WORDS: usize = 6 << 10;
    let mut numbers = run.numbers(number);
    while !run.over() {
        let (mark, address) = (numbers.below(1 << 50), AtomicUsize::new(0));
        let seen = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut own = [0_usize; WORDS];
                for (at, word) in own.iter_mut().enumerate() {
                    *word = mark + at;
                }
                address.store(std::hint::black_box(&own).as_ptr().expose_provenance(), SeqCst);
                while !seen.load(SeqCst) {
                    thread::yield_now();
                }
                let whole = own.iter().enumerate().all(|(at, word)| *word == mark + at);
                assert!(whole, "a stack is not what was written");
            });
            while address.load(SeqCst) == 0 {
                thread::yield_now();
            }
            let words = std::ptr::with_exposed_provenance::<usize>(address.load(SeqCst));
            for at in (0..WORDS).step_by(128) {
                // SAFETY: the thread keeps its array, and does not write to it, until `seen` is set.
                let found = unsafe { words.add(at).read_volatile() };
                assert_eq!(found, mark + at, "another thread's stack is not what it wrote");
            }
            seen.store(true, SeqCst);
        });
        count.fetch_add(1, Relaxed);
        worker.step();
    }
}

pub fn mappings(run: &Run) -> String {
    let (blocks, threads, looks) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    run.crew(|crew| {
        for pair in 0..run.processors() {
            exchange(run, crew, pair, &blocks);
        }
        for number in 0..run.processors().div_ceil(2) {
            let threads = &threads;
            crew.spawn("stacks", move |worker| stacks(run, 1_000 + number, worker, threads));
        }
        // Those that map nothing and must not notice anything.
        for number in 0..2 {
            let (mut numbers, looks) = (run.numbers(2_000 + number), &looks);
            crew.spawn("bystander", move |worker| {
                let mut own = Pages(vec![0; 256 * PAGE]);
                while !run.over() {
                    let mark = numbers.below(1 << 50) as u64;
                    own.write(mark);
                    spin(numbers.below(2_000));
                    // Or else it is preempted, sooner or later.
                    if numbers.below(200) > 0 {
                        thread::yield_now();
                    }
                    own.verify(mark, "bystander");
                    looks.fetch_add(1, Relaxed);
                    worker.step();
                }
            });
        }
    });
    format!(
        "{} blocks, {} stacks, {} looks beside",
        blocks.into_inner(),
        threads.into_inner(),
        looks.into_inner()
    )
}
