//! The processor's own source of random numbers.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};

/// How often an empty source is asked again (Intel's DRNG guide, 5.2.1, names 10 for `RDRAND`).
const TRIES: usize = 128;

/// Fills `seed` from `RDSEED`, and from `RDRAND` where that is missing or dry. `None` when the
/// processor has neither, or both fail: weak numbers are not an answer.
#[must_use]
pub fn seed() -> Option<[u8; 32]> {
    let has_rdrand = __cpuid(1).ecx & 1 << 30 != 0;
    let has_rdseed = __cpuid_count(7, 0).ebx & 1 << 18 != 0;
    let mut seed = [0; 32];
    for chunk in seed.chunks_exact_mut(8) {
        let word = (has_rdseed.then(rdseed).flatten()).or_else(|| has_rdrand.then(rdrand)?)?;
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    Some(seed)
}

fn rdrand() -> Option<u64> {
    (0..TRIES).find_map(|_| {
        let (word, valid): (u64, u8);
        // SAFETY: CPUID announced the instruction; it writes one register and the flags.
        unsafe { asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) valid, options(nomem, nostack)) };
        (valid != 0).then_some(word)
    })
}

fn rdseed() -> Option<u64> {
    (0..TRIES).find_map(|_| {
        let (word, valid): (u64, u8);
        // SAFETY: CPUID announced the instruction; it writes one register and the flags.
        unsafe { asm!("rdseed {}", "setc {}", out(reg) word, out(reg_byte) valid, options(nomem, nostack)) };
        (valid != 0).then_some(word)
    })
}
