//! Who waits for what: a hash table from keys to tasks, first come, first served. Each bucket has a lock
//! of its own.

use super::list::{Linked, List};
use crate::sync::{Lock, LockGuard};

const BUCKETS: usize = 256;

/// Tasks that wait, each under one key.
#[derive(Debug)]
pub struct WaitTable<T: 'static>([Lock<List<T>>; BUCKETS]);

impl<T: Linked> Default for WaitTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The high bits of a multiplication by 2^64 / golden ratio (Knuth, TAOCP 6.4): neighbours and
/// multiples of a page spread alike.
const fn bucket(key: usize) -> usize {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - BUCKETS.ilog2())
}

impl<T: Linked> WaitTable<T> {
    /// A table in which nobody waits.
    #[must_use]
    pub const fn new() -> WaitTable<T> {
        WaitTable([const { Lock::new(List::EMPTY) }; BUCKETS])
    }

    /// Those who wait under `key`, and under others.
    #[inline]
    pub fn bucket(&self, key: usize) -> LockGuard<'_, List<T>> {
        self.0[bucket(key)].lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread() {
        for distance in [4, 8, 64, 4096, 1 << 21] {
            let mut counts = [0; BUCKETS];
            for number in 0..16 * BUCKETS {
                counts[bucket(0x4000_0000_0000 + number * distance)] += 1;
            }
            let most = counts.into_iter().max();
            assert!(most <= Some(32), "{distance}: {most:?} in one bucket");
        }
    }
}
