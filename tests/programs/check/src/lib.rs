//! Runs a program's checks one after the other.

pub mod loopback;

use std::io;
use std::process::ExitCode;
use std::time::Instant;

/// A check's name and the check. It panics or gives an error when something is wrong.
pub type Check = (&'static str, fn() -> io::Result<()>);

/// Runs the checks whose name contains `filter`, prints one line for each and one for all.
///
/// Gives a failure when one gave an error, or when none was run.
pub fn walk(checks: &[Check], filter: Option<&str>) -> ExitCode {
    let chosen = || {
        let filter = filter.unwrap_or_default();
        checks.iter().filter(move |(name, _)| name.contains(filter))
    };
    let mut failed = 0;
    for (name, check) in chosen() {
        let start = Instant::now();
        match check() {
            Ok(()) => println!("ok      {name} ({} ms)", start.elapsed().as_millis()),
            Err(error) => {
                failed += 1;
                println!("failed  {name}: {error} ({:?})", error.kind());
            }
        }
    }
    let count = chosen().count();
    println!("{count} checks, {failed} failed");
    if failed == 0 && count > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The same numbers in the same order everywhere, without a pattern to the eye (xorshift64).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Numbers that depend on `seed`; a seed of 0 is replaced, since the generator would stay there.
    pub fn new(seed: u64) -> Numbers {
        Numbers(if seed == 0 { u64::MAX } else { seed })
    }

    /// The next number below `bound`.
    ///
    /// # Panics
    ///
    /// Panics when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_fails_the_walk() {
        let checks: &[Check] =
            &[("fine", || Ok(())), ("not fine", || Err(io::ErrorKind::NotFound.into()))];
        assert_eq!(walk(checks, None), ExitCode::FAILURE);
        assert_eq!(walk(&checks[..1], None), ExitCode::SUCCESS);
        assert_eq!(walk(checks, Some("not")), ExitCode::FAILURE);
        assert_eq!(walk(checks, Some("none of them")), ExitCode::FAILURE);
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut numbers = Numbers::new(0);
        let seen = (0..1_000).map(|_| numbers.below(10)).collect::<std::collections::HashSet<_>>();
        assert_eq!(seen, (0..10).collect());
    }
}
