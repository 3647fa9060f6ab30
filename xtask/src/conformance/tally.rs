//! How many tests ended how.

use std::fmt;
use std::ops::AddAssign;

use super::exclusions::Exclusions;
use super::record::Outcome;
use super::schedule::Results;

/// Counts of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ended as they should.
    pub passed: usize,
    /// Did not, and are not excluded.
    pub failed: usize,
    /// Did not, or were not run, and are excluded by name.
    pub excluded: usize,
    /// Are not to be run, says their own source.
    pub ignored: usize,
    /// Were not asked for, or not reached.
    pub left: usize,
}

impl Tally {
    /// The counts of a program.
    pub fn of(results: &Results, exclusions: &Exclusions) -> Tally {
        let name = results.name();
        let mut tally = Tally::default();
        for (test, verdict) in &results.tests {
            let excluded = exclusions.of(&name, test).is_some();
            let outcome = verdict.as_ref().map(|verdict| verdict.outcome);
            let count = match outcome {
                Some(Outcome::Passed) => &mut tally.passed,
                Some(Outcome::Ignored) => &mut tally.ignored,
                _ if excluded => &mut tally.excluded,
                Some(Outcome::Failed) => &mut tally.failed,
                None => &mut tally.left,
            };
            *count += 1;
        }
        tally
    }

    /// The share of the tests that pass among those that were run or excluded.
    pub fn share(&self) -> f64 {
        let all = self.passed + self.failed + self.excluded;
        if all == 0 {
            return 1.0;
        }
        self.passed as f64 / all as f64
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.excluded += other.excluded;
        self.ignored += other.ignored;
        self.left += other.left;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        for (count, what) in
            [(self.excluded, "excluded"), (self.ignored, "ignored"), (self.left, "not run")]
        {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}
