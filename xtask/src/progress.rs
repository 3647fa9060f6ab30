//! Progress of long steps: a spinner on a terminal, one line a step elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A step that takes a while. Dropped without [`Step::done`], its line just ends.
pub struct Step {
    bar: ProgressBar,
    name: String,
    started: Instant,
    terminal: bool,
}

impl Step {
    /// Begins a step; `name` reads like "prebuilding the standard library".
    pub fn new(name: impl Into<String>) -> Step {
        let name = name.into();
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
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
        Step {
            bar,
            name,
            started: Instant::now(),
            terminal,
        }
    }

    /// Shows what the step is at.
    pub fn at(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// Ends the step.
    pub fn done(self) {
        self.bar.finish_and_clear();
        if self.terminal {
            eprintln!(
                "skete: {} ({:.1} s)",
                self.name,
                self.started.elapsed().as_secs_f64()
            );
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
