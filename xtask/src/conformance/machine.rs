//! One virtual machine that runs tests of an image, watched as it does.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::events::{self, End, Event};
use super::record::{Outcome, Verdict};
use crate::net::card::{Backend, Card};
use crate::qemu::{Bytes, Vm};
use crate::root::Root;
use crate::sdk::Sdk;

/// How many bytes of test names a machine's command line may hold: QEMU gets it as one argument,
/// for which Linux has a limit of 128 KiB, and its words are quoted.
const NAMES: usize = 48 << 10;

/// How much of a standard error is kept to say why a test has failed.
const KEPT: usize = 4 << 10;

/// What the tests of a suite need.
#[derive(Clone, Debug)]
pub struct Needs {
    /// The machine's memory.
    pub memory: Bytes,
    /// A directory whose files the machine has at its root.
    pub files: Option<PathBuf>,
    /// Whether it has a network card.
    pub card: bool,
}

/// What a machine for tests looks like.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The image.
    pub image: PathBuf,
    /// What its tests need.
    pub needs: Needs,
    /// How long one test may take.
    pub limit: Duration,
}

/// A test that an image holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// Whether it is only run when asked for.
    pub ignored: bool,
}

/// The name under which a program without libtest is one test.
pub const WHOLE: &str = "main";

impl Machine {
    fn vm(&self, sdk: &Sdk) -> Vm {
        let mut vm = Vm::new(sdk, &self.image);
        vm.memory = self.needs.memory;
        vm.root = self.needs.files.clone().map(Root::Pack);
        if self.needs.card {
            let backend = Backend::User { publish: Vec::new(), guest: None };
            vm.cards = vec![Card::new(0, backend)];
        }
        // libtest takes the options for events only so.
        vm.env = vec![("RUSTC_BOOTSTRAP".to_owned(), "1".to_owned())];
        vm
    }

    /// The tests that the image holds. A program that does not speak as libtest does is one test.
    pub fn list(&self, sdk: &Sdk) -> Result<Vec<Test>> {
        let mut vm = self.vm(sdk);
        vm.args = words(&["--list"]);
        vm.args.extend(words(&events::OPTIONS));
        let mut watch = Watch::new(self.limit, |_, _| Ok(()));
        let run = vm.watch(&mut watch)?;
        if watch.complete {
            return Ok(watch.found);
        }
        if watch.found.is_empty() && run.status == Some(0) {
            return Ok(vec![Test { name: WHOLE.to_owned(), ignored: false }]);
        }
        bail!(
            "{} cannot name its tests: {}\n{}",
            self.image.display(),
            ending(run.status, run.timed_out, self.limit, || run.why_no_status()),
            watch.kept()
        )
    }

    /// Runs the first of `tests` as far as one machine gets, tells `ended` of each, and gives their
    /// number, which is at least one. A test that ends its machine has failed.
    pub fn run(
        &self,
        sdk: &Sdk,
        tests: &[String],
        ended: impl FnMut(&str, Verdict) -> Result<()>,
    ) -> Result<usize> {
        if tests == [WHOLE] {
            return self.run_whole(sdk, ended).map(|()| 1);
        }
        let tests = &tests[..fitting(tests)];
        let mut vm = self.vm(sdk);
        vm.args = words(&["--exact", "--test-threads=1"]);
        vm.args.extend(words(&events::OPTIONS));
        vm.args.extend(tests.iter().cloned());
        let mut watch = Watch::new(self.limit, ended);
        let run = vm.watch(&mut watch)?;
        if let Some(error) = watch.error.take() {
            return Err(error);
        }
        if !watch.complete {
            // The machine has ended before its program: because of the test that ran, or of the
            // first one if none had begun.
            let test = watch.running.take().map(|(test, _)| test);
            let next = tests.get(watch.count).cloned();
            if let Some(test) = test.or(next) {
                let why = ending(run.status, run.timed_out, self.limit, || run.why_no_status());
                let said = format!("{why}\n{}", watch.kept());
                watch.end(&test, Outcome::Failed, said.trim_end().to_owned())?;
            }
        }
        if watch.count == 0 {
            bail!(
                "{} runs none of the tests that it names, the first of which is {}",
                self.image.display(),
                tests[0]
            );
        }
        Ok(watch.count)
    }

    /// Runs a program that is one test.
    fn run_whole(
        &self,
        sdk: &Sdk,
        mut ended: impl FnMut(&str, Verdict) -> Result<()>,
    ) -> Result<()> {
        let start = Instant::now();
        let mut vm = self.vm(sdk);
        vm.timeout = Some(self.limit);
        let mut watch = Watch::new(self.limit, |_, _| Ok(()));
        let run = vm.watch(&mut watch)?;
        let (outcome, said) = match run.status {
            Some(0) => (Outcome::Passed, String::new()),
            status => {
                let why = ending(status, run.timed_out, self.limit, || run.why_no_status());
                (Outcome::Failed, format!("{why}\n{}", watch.kept()))
            }
        };
        ended(WHOLE, Verdict { outcome, said, took: milliseconds(start) })
    }
}

/// How many of `tests` fit on one command line; at least one.
fn fitting(tests: &[String]) -> usize {
    let mut left = NAMES;
    let fit = |test: &&String| {
        let size = test.len() + 3 + test.matches(['"', '\\']).count();
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    };
    tests.iter().take_while(fit).count().max(1)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn milliseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Why a machine has ended before its tests.
fn ending(
    status: Option<i32>,
    timed_out: bool,
    limit: Duration,
    unknown: impl Fn() -> String,
) -> String {
    match status {
        _ if timed_out => format!("took longer than {} s", limit.as_secs()),
        Some(status) => format!("ended the virtual machine with status {status}"),
        None => unknown(),
    }
}

/// Reads a machine's output and keeps time.
struct Watch<F> {
    limit: Duration,
    ended: F,
    /// The line of standard output that is not yet whole.
    line: Vec<u8>,
    /// Standard error, and what of standard output is no event.
    rest: Vec<u8>,
    found: Vec<Test>,
    /// The test that runs, since when.
    running: Option<(String, Instant)>,
    /// When anything last began or ended.
    since: Instant,
    /// How many tests have ended.
    count: usize,
    complete: bool,
    error: Option<anyhow::Error>,
}

impl<F: FnMut(&str, Verdict) -> Result<()>> Watch<F> {
    fn new(limit: Duration, ended: F) -> Watch<F> {
        Watch {
            limit,
            ended,
            line: Vec::new(),
            rest: Vec::new(),
            found: Vec::new(),
            running: None,
            since: Instant::now(),
            count: 0,
            complete: false,
            error: None,
        }
    }

    /// The end of what the machine has said.
    fn kept(&self) -> String {
        let text = String::from_utf8_lossy(&self.rest);
        text.trim().to_owned()
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let excess = self.rest.len().saturating_sub(KEPT);
        self.rest.drain(..excess);
    }

    fn take(&mut self, line: &[u8]) -> Result<()> {
        match Event::read(&String::from_utf8_lossy(line)) {
            Some(Event::Found { name, ignored }) => self.found.push(Test { name, ignored }),
            Some(Event::Started(name)) => {
                self.since = Instant::now();
                self.rest.clear();
                self.running = Some((name, self.since));
            }
            Some(Event::Ended { name, end, said }) => {
                let outcome = match end {
                    End::Passed => Outcome::Passed,
                    End::Failed => Outcome::Failed,
                    End::Ignored => Outcome::Ignored,
                };
                self.end(&name, outcome, said)?;
            }
            Some(Event::Complete) => self.complete = true,
            None => {
                self.keep(line);
                self.keep(b"\n");
            }
        }
        Ok(())
    }

    fn end(&mut self, test: &str, outcome: Outcome, said: String) -> Result<()> {
        let start = self.running.take().map_or(self.since, |(_, start)| start);
        self.since = Instant::now();
        self.count += 1;
        (self.ended)(test, Verdict { outcome, said, took: milliseconds(start) })
    }
}

impl<F: FnMut(&str, Verdict) -> Result<()>> crate::stream::Output for Watch<F> {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            if let Err(error) = self.take(&line) {
                self.error = Some(error);
                // Ends the machine.
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.keep(bytes);
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.since.checked_add(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Output;

    #[test]
    fn a_command_line_has_an_end() {
        let long = vec!["x".repeat(NAMES / 2); 5];
        assert_eq!(fitting(&long), 1);
        assert_eq!(fitting(&vec!["x".repeat(NAMES * 2); 2]), 1);
        let short = vec!["a::b".to_owned(); 50];
        assert_eq!(fitting(&short), 50);
    }

    #[test]
    fn events_arrive_in_pieces() -> Result<()> {
        let mut ends = Vec::new();
        let mut watch = Watch::new(Duration::from_secs(60), |test: &str, verdict: Verdict| {
            ends.push((test.to_owned(), verdict.outcome));
            Ok(())
        });
        let text = "{ \"type\": \"test\", \"event\": \"started\", \"name\": \"a\" }\nnoise\
                    { \"type\": \"test\", \"name\": \"a\", \"event\": \"ok\" }\n\
                    { \"type\": \"test\", \"event\": \"started\", \"name\": \"b\" }\npartial";
        for piece in text.as_bytes().chunks(7) {
            watch.stdout(piece)?;
        }
        watch.stderr(b"dying words")?;
        assert_eq!(watch.running.as_ref().map(|(test, _)| test.as_str()), Some("b"));
        assert_eq!((watch.count, watch.complete), (1, false));
        assert_eq!(watch.kept(), "dying words");
        assert_eq!(ends, [("a".to_owned(), Outcome::Passed)]);
        Ok(())
    }
}
