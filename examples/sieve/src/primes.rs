//! The sieve itself.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How many odd numbers a segment covers: one byte each, small enough for a first-level cache.
const SEGMENT: u64 = 1 << 15;

/// The number of primes below 10, 100, …, 10¹² (OEIS A006880).
const KNOWN: [u64; 12] = [
    4,
    25,
    168,
    1_229,
    9_592,
    78_498,
    664_579,
    5_761_455,
    50_847_534,
    455_052_511,
    4_118_054_813,
    37_607_912_018,
];

/// The number of primes below `bound` where it is known: for powers of ten up to 10¹².
pub fn known(bound: u64) -> Option<u64> {
    let exponent = bound.checked_ilog10().filter(|&e| 10_u64.pow(e) == bound)?;
    let index = exponent.checked_sub(1)?;
    KNOWN.get(usize::try_from(index).ok()?).copied()
}

/// Counts the primes below `bound`; `threads` threads take segments of the range in turn.
///
/// Fails when a thread cannot be started.
pub fn count_below(bound: u64, threads: usize) -> io::Result<u64> {
    if bound <= 2 {
        return Ok(0);
    }
    let small = odd_primes_up_to(bound.isqrt());
    // Number `i` of the sieve stands for `2 * i + 1`. Number 0 is 1: no prime, but it stands in
    // for 2, the one even prime, so that the count comes out right.
    let numbers = bound / 2;
    let next = AtomicU64::new(0);
    let work = || {
        let mut segment = vec![false; SEGMENT as usize];
        let mut count = 0;
        loop {
            let start = next.fetch_add(SEGMENT, Ordering::Relaxed);
            if start >= numbers {
                return count;
            }
            let length = SEGMENT.min(numbers - start);
            count += count_segment(start, &mut segment[..length as usize], &small);
        }
    };
    thread::scope(|scope| {
        let workers = (0..threads)
            .map(|i| thread::Builder::new().name(format!("sieve-{i}")).spawn_scoped(scope, work))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(workers.into_iter().map(|worker| worker.join().expect("a sieve thread panicked")).sum())
    })
}

/// Counts the primes among the numbers from `start` on; `composite` is the segment's memory.
fn count_segment(start: u64, composite: &mut [bool], small: &[u64]) -> u64 {
    composite.fill(false);
    let end = start + composite.len() as u64;
    for &prime in small {
        // The square of `prime` is the first number that no smaller prime has struck out.
        let square = (prime * prime) / 2;
        if square >= end {
            break;
        }
        let first = if square >= start {
            square - start
        } else {
            (prime - (start - square) % prime) % prime
        };
        for i in (first as usize..composite.len()).step_by(prime as usize) {
            composite[i] = true;
        }
    }
    composite.iter().filter(|&&composite| !composite).count() as u64
}

/// The odd primes up to and including `last`, by a plain sieve.
fn odd_primes_up_to(last: u64) -> Vec<u64> {
    let mut composite = vec![false; last as usize / 2 + 1];
    let mut primes = Vec::new();
    for number in (3..=last).step_by(2) {
        if composite[number as usize / 2] {
            continue;
        }
        primes.push(number);
        for multiple in (number * number..=last).step_by(2 * number as usize) {
            composite[multiple as usize / 2] = true;
        }
    }
    primes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bounds_agree_with_trial_division() {
        let is_prime = |n: u64| n >= 2 && (2..=n.isqrt()).all(|d| !n.is_multiple_of(d));
        let mut expected = 0;
        for bound in 0..2_000 {
            assert_eq!(count_below(bound, 1).unwrap(), expected, "below {bound}");
            expected += u64::from(is_prime(bound));
        }
    }

    #[test]
    fn powers_of_ten_agree_with_the_table() {
        for exponent in 1..=6 {
            let bound = 10_u64.pow(exponent);
            assert_eq!(Some(count_below(bound, 4).unwrap()), known(bound));
        }
    }

    #[test]
    fn segment_borders_lose_nothing() {
        for bound in [2 * SEGMENT - 1, 2 * SEGMENT, 2 * SEGMENT + 1, 4 * SEGMENT + 2] {
            let one = count_below(bound, 1).unwrap();
            assert_eq!(count_below(bound, 3).unwrap(), one, "below {bound}");
            assert_eq!(one, odd_primes_up_to(bound - 1).len() as u64 + 1);
        }
    }

    #[test]
    fn the_table_is_for_powers_of_ten_only() {
        assert_eq!(known(10), Some(4));
        assert_eq!(known(1_000_000_000_000), Some(37_607_912_018));
        for bound in [0, 1, 2, 11, 99, 10_u64.pow(13), u64::MAX] {
            assert_eq!(known(bound), None, "{bound}");
        }
    }
}
