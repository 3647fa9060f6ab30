//! Progress of long steps: a spinner on a terminal, one line a step elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// A step that takes a while. Dropped without [`Step::done`], its line just ends.
pub struct Step {
    bar: ProgressBar,
    name: String,
    started: Instant,
    terminal: bool,
    /// Other bars on the terminal.
    beside: Option<MultiProgress>,
}

impl Step {
    /// Begins a step; `name` reads like "prebuilding the standard library".
    pub fn new(name: impl Into<String>) -> Step {
        Step::start(name.into(), None)
    }

    /// Begins a step while other bars are on the terminal.
    pub fn beside(bars: &MultiProgress, name: impl Into<String>) -> Step {
        Step::start(name.into(), Some(bars.clone()))
    }

    fn start(name: String, beside: Option<MultiProgress>) -> Step {
        let terminal = std::io::stderr().is_terminal();
        let bar = match (terminal, &beside) {
            (false, _) => ProgressBar::hidden(),
            (true, None) => ProgressBar::new_spinner(),
            (true, Some(bars)) => bars.add(ProgressBar::new_spinner()),
        };
        if terminal {
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(name.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
        } else {
            eprintln!("skete: {name}");
        }
        Step { bar, name, started: Instant::now(), terminal, beside }
    }

    /// Shows what the step is at.
    pub fn at(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// Ends the step.
    pub fn done(self) {
        self.bar.finish_and_clear();
        if !self.terminal {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let line = format!("skete: {} ({seconds:.1} s)", self.name);
        match &self.beside {
            Some(bars) => bars.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
