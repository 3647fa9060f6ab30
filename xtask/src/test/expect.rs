//! What must come of a case, and what to say when something else did.

use std::fmt::Write as _;

use anyhow::Result;

/// What came of it.
#[derive(Clone, Debug)]
pub struct Got {
    /// A command that does the same by hand.
    pub command: String,
    /// The exit status.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Whether the time was over.
    pub timed_out: bool,
}

/// What must come of it.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    status: i32,
    stdout: Vec<Pattern>,
    stderr: Vec<Pattern>,
}

/// What must be in a stream.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Exactly these bytes and nothing else.
    Is(Vec<u8>),
    /// This text somewhere.
    Has(String),
    /// This text nowhere.
    HasNot(String),
    /// As many lines.
    Lines(usize),
}

impl Expect {
    /// This exit status.
    pub fn status(status: i32) -> Expect {
        Expect { status, ..Expect::default() }
    }

    /// Exactly this on standard output.
    pub fn stdout(mut self, bytes: impl Into<Vec<u8>>) -> Expect {
        self.stdout.push(Pattern::Is(bytes.into()));
        self
    }

    /// This somewhere in standard output.
    pub fn out(mut self, text: &str) -> Expect {
        self.stdout.push(Pattern::Has(text.to_owned()));
        self
    }

    /// This nowhere in standard output.
    pub fn out_not(mut self, text: &str) -> Expect {
        self.stdout.push(Pattern::HasNot(text.to_owned()));
        self
    }

    /// Exactly this on standard error.
    pub fn stderr(mut self, bytes: impl Into<Vec<u8>>) -> Expect {
        self.stderr.push(Pattern::Is(bytes.into()));
        self
    }

    /// This somewhere in standard error.
    pub fn err(mut self, text: &str) -> Expect {
        self.stderr.push(Pattern::Has(text.to_owned()));
        self
    }

    /// This nowhere in standard error.
    pub fn err_not(mut self, text: &str) -> Expect {
        self.stderr.push(Pattern::HasNot(text.to_owned()));
        self
    }

    /// One line on standard error, with this in it.
    pub fn err_line(mut self, text: &str) -> Expect {
        self.stderr.push(Pattern::Lines(1));
        self.err(text)
    }

    /// Fails with everything a person needs to see when `got` is not what must come.
    pub fn judge(&self, got: &Got) -> Result<()> {
        let mut wrong = Vec::new();
        if got.timed_out {
            wrong.push("it was ended when its time was over".to_owned());
        } else if got.status != Some(self.status) {
            let found = got.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
            wrong.push(format!("the exit status is {found}, not {}", self.status));
        }
        for (name, patterns, bytes) in [
            ("standard output", &self.stdout, &got.stdout),
            ("standard error", &self.stderr, &got.stderr),
        ] {
            wrong.extend(patterns.iter().filter_map(|pattern| pattern.complaint(name, bytes)));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let mut text = format!("{}\n", got.command);
        for complaint in wrong {
            let _ = writeln!(text, "  {complaint}");
        }
        for (name, bytes) in [("standard output", &got.stdout), ("standard error", &got.stderr)] {
            let _ = write!(text, "  --- {name}\n{}", excerpt(bytes));
        }
        Err(anyhow::Error::msg(text))
    }
}

impl Pattern {
    fn complaint(&self, name: &str, bytes: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(bytes);
        match self {
            Pattern::Is(wanted) if wanted != bytes => {
                let same = wanted.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                Some(format!(
                    "{name} has {} bytes instead of {} and differs from byte {same} on; expected:\n{}",
                    bytes.len(),
                    wanted.len(),
                    excerpt(wanted).trim_end()
                ))
            }
            Pattern::Has(wanted) if !text.contains(wanted) => {
                Some(format!("{name} lacks {wanted:?}"))
            }
            Pattern::HasNot(unwanted) if text.contains(unwanted) => {
                Some(format!("{name} has {unwanted:?}"))
            }
            Pattern::Lines(wanted) if text.lines().count() != *wanted => {
                Some(format!("{name} has {} lines, not {wanted}", text.lines().count()))
            }
            _ => None,
        }
    }
}

/// The beginning and the end of what may be long, indented.
fn excerpt(bytes: &[u8]) -> String {
    const LINES: usize = 30;
    const WIDTH: usize = 200;
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().collect::<Vec<_>>();
    let left_out = lines.len().saturating_sub(2 * LINES);
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        if left_out > 0 && i == LINES {
            let _ = writeln!(out, "    … {left_out} lines left out …");
        }
        if left_out == 0 || i < LINES || i >= LINES + left_out {
            let shown = line.chars().take(WIDTH).map(|c| if c.is_control() { '·' } else { c });
            let _ = writeln!(out, "    {}", shown.collect::<String>());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got(status: i32, stdout: &str, stderr: &str) -> Got {
        Got {
            command: "command".into(),
            status: Some(status),
            stdout: stdout.into(),
            stderr: stderr.into(),
            timed_out: false,
        }
    }

    #[test]
    fn every_difference_is_seen_and_named() {
        let expect = Expect::status(1).stdout("out").err_line("error");
        assert!(expect.judge(&got(1, "out", "an error\n")).is_ok());
        for (wrong, complaint) in [
            (got(0, "out", "error"), "exit status is 0, not 1"),
            (got(1, "outer", "error"), "5 bytes instead of 3"),
            (got(1, "out", "fine"), "lacks \"error\""),
            (got(1, "out", "error\nerror"), "2 lines, not 1"),
            (Got { timed_out: true, ..got(1, "out", "error") }, "time was over"),
            (Got { status: None, ..got(1, "out", "error") }, "exit status is none"),
        ] {
            let said = format!("{:#}", expect.judge(&wrong).unwrap_err());
            assert!(said.contains(complaint) && said.contains("command"), "{said}");
        }
    }

    #[test]
    fn long_output_is_cut_in_the_middle() {
        let text = (0..1000).map(|i| format!("line {i}\n")).collect::<String>();
        let short = excerpt(text.as_bytes());
        assert!(
            short.contains("line 0\n")
                && short.contains("line 999\n")
                && short.contains("940 lines left out")
        );
    }
}
