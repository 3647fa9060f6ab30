//! Allocation from many threads at once.

use std::hint::black_box;

use super::{shortest, together};

/// How many threads share the work.
const THREADS: [usize; 4] = [1, 2, 8, 128];
/// Allocations of all threads together.
const ALLOCATIONS: usize = 256_000;
/// How many each thread holds at a time.
const HELD: usize = 64;

/// The same number of allocations, from more and more threads.
pub fn measure() {
    for threads in THREADS {
        let time = shortest(|| together(threads, || work(ALLOCATIONS / threads)));
        println!("allocation-{threads} {time}");
    }
}

/// Allocates so many pieces of 16 to 1,024 bytes, each in the place of an older one.
fn work(count: usize) {
    let mut held: Vec<Vec<u8>> = (0..HELD).map(|_| Vec::new()).collect();
    for index in 0..count {
        let size = 16 << (index.wrapping_mul(2_654_435_761) >> 7 & 7).min(6);
        let mut piece = Vec::with_capacity(size);
        piece.push(index as u8);
        held[index % HELD] = black_box(piece);
    }
}
