//! What a person sees while tests run: a bar on a terminal, lines elsewhere; every failure at once.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::exclusions::Exclusions;
use super::record::{Outcome, Verdict};
use super::schedule::{Results, seconds};
use super::tally::Tally;
use crate::progress::Step;

/// How many lines of a failed test's words are shown.
const LINES: usize = 12;

/// Shows how far the run is.
pub struct Show {
    bars: MultiProgress,
    bar: Option<ProgressBar>,
}

impl Show {
    /// Begins.
    pub fn new() -> Show {
        let bars = MultiProgress::new();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = bars.add(ProgressBar::new(0));
            if let Ok(style) = ProgressStyle::with_template(
                "{wide_bar} {pos}/{len} tests, {elapsed} {msg:30!.dim}",
            ) {
                bar.set_style(style);
            }
            bar
        });
        Show { bars, bar }
    }

    /// Something that takes a while meanwhile.
    pub fn step(&self, name: impl Into<String>) -> Step {
        Step::beside(&self.bars, name)
    }

    /// More tests are known.
    pub fn add(&self, count: usize) {
        if let Some(bar) = &self.bar {
            bar.inc_length(count as u64);
        }
    }

    /// Tests need not be run.
    pub fn advance(&self, count: usize) {
        if let Some(bar) = &self.bar {
            bar.inc(count as u64);
        }
    }

    /// What is being run.
    pub fn at(&self, name: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(name.to_owned());
        }
    }

    /// A test has ended.
    pub fn test(&self, program: &str, test: &str, verdict: &Verdict, excluded: bool) {
        self.advance(1);
        if verdict.outcome == Outcome::Failed && !excluded {
            let mut said = verdict.said.lines().take(LINES).collect::<Vec<_>>();
            if verdict.said.lines().count() > LINES {
                said.push("…");
            }
            self.say(&format!("FAILED  {program} {test}\n    {}", said.join("\n    ")));
        }
    }

    /// All tests of a program have ended.
    pub fn program(&self, results: &Results, exclusions: &Exclusions) {
        let tally = Tally::of(results, exclusions);
        self.say(&format!(
            "{:<7} {}: {tally} ({:.0} s)",
            if tally.failed == 0 { "ok" } else { "FAILED" },
            results.name(),
            seconds(results)
        ));
    }

    /// Prints a line.
    pub fn say(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
