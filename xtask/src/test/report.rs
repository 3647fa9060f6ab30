//! What a test run has shown so far, and how it is told.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::lint::{Check, End};

/// The tally, and the progress bar.
pub struct Report {
    bar: Option<ProgressBar>,
    started: Instant,
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
}

impl Report {
    /// Nothing has been run of `count` things yet.
    pub fn new(count: usize) -> Report {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(count as u64);
            if let Ok(style) =
                ProgressStyle::with_template("{elapsed} {wide_bar} {pos}/{len} {msg:40!}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Report { bar, started: Instant::now(), passed: 0, failed: Vec::new(), skipped: 0 }
    }

    /// Shows what is run now.
    pub fn begin(&self, name: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(name.to_owned()),
            // Only what takes long: each case gets a line of its own when it ends.
            None if name.contains(' ') => self.say(name),
            None => {}
        }
    }

    /// Counts tests of another program's own tally.
    pub fn count(&mut self, passed: usize, skipped: usize) {
        self.passed += passed;
        self.skipped += skipped;
    }

    /// Takes the end of a case.
    pub fn case(&mut self, name: &str, end: Result<()>, time: Duration) {
        match end {
            Ok(()) => {
                self.passed += 1;
                self.line("ok", name, time);
            }
            Err(error) => self.fail(name, &format!("{error:#}"), time),
        }
        self.step();
    }

    /// Takes a failure.
    pub fn fail(&mut self, name: &str, why: &str, time: Duration) {
        self.line("FAILED", name, time);
        self.say(&format!("{}\n", why.trim_end()));
        self.failed.push(name.to_owned());
    }

    /// Takes something that could not be run here, and says why.
    pub fn skip(&mut self, name: &str, why: &str) {
        self.skipped += 1;
        self.say(&format!("{:<7} {name}: {why}", "skipped"));
    }

    /// Runs a lint.
    pub fn lint(&mut self, name: &str, check: &Check) {
        let start = Instant::now();
        match check.run() {
            Ok(End::Clean) => self.case(name, Ok(()), start.elapsed()),
            Ok(End::Complaints(said)) => {
                self.fail(name, &format!("{}\n{said}", check.command()), start.elapsed());
                self.step();
            }
            Ok(End::NoTool(advice)) => {
                self.skip(name, &advice);
                self.step();
            }
            Err(error) => self.case(name, Err(error), start.elapsed()),
        }
    }

    /// Moves the bar on.
    pub fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn line(&self, end: &str, name: &str, time: Duration) {
        // On a terminal the bar tells of what is well.
        if self.bar.is_none() || end != "ok" {
            self.say(&format!("{end:<7} {name} ({:.1} s)", time.as_secs_f64()));
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// Prints the names of what failed and the closing line; an error when something did.
    pub fn finish(self) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        for name in &self.failed {
            eprintln!("failed: {name}");
        }
        eprintln!("skete: tests took {:.0} s", self.started.elapsed().as_secs_f64());
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped);
        match self.failed.len() {
            0 => Ok(()),
            1 => bail!("a test failed"),
            count => bail!("{count} tests failed"),
        }
    }
}
