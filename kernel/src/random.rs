//! Random numbers: a ChaCha20 generator, seeded from the processor's own source.
//!
//! Without such a source there are no random numbers: an error, never weak ones.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};

use crate::sync::Lock;
use crate::{Error, Result, arch};

/// Bytes that one seed serves for: after that, fresh entropy is mixed in.
const RESEED: usize = 1 << 20;

struct Generator {
    generator: ChaCha20Rng,
    left: usize,
}

static GENERATOR: Lock<Option<Generator>> = Lock::new(None);

/// Fills a buffer with random bytes that are fit for keys.
///
/// # Errors
///
/// [`Error::Unsupported`] when the processor has neither `RDRAND` nor `RDSEED`, or they fail.
pub fn fill(buffer: &mut [u8]) -> Result<()> {
    // In parts, so that interrupts are not off for long.
    for part in buffer.chunks_mut(4096) {
        let mut slot = GENERATOR.lock();
        let generator = match slot.take() {
            Some(generator) if generator.left >= part.len() => generator,
            old => reseed(old)?,
        };
        let generator = slot.insert(generator);
        generator.generator.fill_bytes(part);
        generator.left -= part.len();
    }
    Ok(())
}

fn reseed(old: Option<Generator>) -> Result<Generator> {
    let mut seed = arch::entropy::seed().ok_or(Error::Unsupported)?;
    if let Some(mut old) = old {
        let mut mixed = [0; 32];
        old.generator.fill_bytes(&mut mixed);
        seed.iter_mut().zip(mixed).for_each(|(byte, other)| *byte ^= other);
    }
    Ok(Generator { generator: ChaCha20Rng::from_seed(seed), left: RESEED })
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_fillings_are_alike() {
        let (mut first, mut second) = ([0; 64], [0; 64]);
        super::fill(&mut first).unwrap();
        super::fill(&mut second).unwrap();
        assert_ne!(first, second);
    }
}
