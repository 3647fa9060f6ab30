//! Runs the tests of many images, several machines beside each other, while further images are
//! still being built.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::exclusions::Exclusions;
use super::machine::{Machine, Needs, Test};
use super::programs::{self, Program};
use super::record::{Outcome, Record, Verdict};
use super::show::Show;
use crate::sdk::Sdk;

/// How many tests are given to one machine. Small enough that several machines share the tests of
/// a large program, large enough that the time to boot does not count.
const BATCH: usize = 150;

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only tests that have this in their names.
    pub filter: Option<String>,
    /// How long one test may take.
    pub limit: Duration,
    /// Whether the tests are only named.
    pub list: bool,
    /// Whether earlier results are dropped.
    pub fresh: bool,
    /// How many machines run beside each other.
    pub jobs: usize,
}

/// One image on its way.
pub struct Work {
    /// The suite.
    pub suite: String,
    /// The program within the suite.
    pub program: String,
    /// The machine.
    pub machine: Machine,
}

impl Work {
    /// `SUITE/PROGRAM`
    pub fn name(&self) -> String {
        format!("{}/{}", self.suite, self.program)
    }
}

/// What became of an image's tests.
#[derive(Debug)]
pub struct Results {
    /// The suite.
    pub suite: String,
    /// The program within the suite.
    pub program: String,
    /// Each test and its end, in the program's order; none for what was not run.
    pub tests: Vec<(String, Option<Verdict>)>,
}

impl Results {
    /// `SUITE/PROGRAM`
    pub fn name(&self) -> String {
        format!("{}/{}", self.suite, self.program)
    }
}

/// An image whose tests are being run.
struct Running {
    work: Work,
    tests: Vec<Test>,
    record: Mutex<Record>,
    /// How many machines and waiting batches are left.
    left: Mutex<usize>,
}

/// Something that a worker does next.
enum Job {
    /// Learns which tests an image holds.
    List(Work),
    /// Runs these tests.
    Batch(Arc<Running>, Vec<String>),
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Jobs that wait or run.
    open: usize,
    /// Whether no more images come.
    closed: bool,
    results: Vec<Results>,
    error: Option<anyhow::Error>,
}

/// The queue that workers share.
pub struct Queue<'a> {
    sdk: &'a Sdk,
    options: &'a Options,
    exclusions: &'a Exclusions,
    show: &'a Show,
    state: Mutex<State>,
    changed: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Queue<'a> {
    /// An empty queue.
    pub fn new(
        sdk: &'a Sdk,
        options: &'a Options,
        exclusions: &'a Exclusions,
        show: &'a Show,
    ) -> Queue<'a> {
        Queue { sdk, options, exclusions, show, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Runs what `produce` hands in, to the end of both.
    pub fn run(self, produce: impl FnOnce(&Queue<'a>) -> Result<()>) -> Result<Vec<Results>> {
        std::thread::scope(|scope| {
            for number in 0..self.options.jobs {
                let worker = std::thread::Builder::new().name(format!("machine-{number}"));
                if let Err(error) = worker.spawn_scoped(scope, || self.work()) {
                    self.fail(error.into());
                }
            }
            if let Err(error) = produce(&self) {
                self.fail(error);
            }
            lock(&self.state).closed = true;
            self.changed.notify_all();
        });
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.error {
            Some(error) => Err(error),
            None => Ok(state.results),
        }
    }

    /// Hands in an image; the machine has this much memory and the files of this directory.
    pub fn add(&self, suite: &str, program: Program, needs: Needs) {
        let machine = Machine { image: program.image, needs, limit: self.options.limit };
        self.push(Job::List(Work { suite: suite.to_owned(), program: program.name, machine }));
    }

    fn push(&self, job: Job) {
        let mut state = lock(&self.state);
        state.open += 1;
        match job {
            Job::List(_) => state.jobs.push_front(job),
            Job::Batch(..) => state.jobs.push_back(job),
        }
        self.changed.notify_one();
    }

    fn fail(&self, error: anyhow::Error) {
        let mut state = lock(&self.state);
        state.error.get_or_insert(error);
        state.jobs.clear();
        state.closed = true;
        self.changed.notify_all();
    }

    fn work(&self) {
        loop {
            let job = {
                let mut state = lock(&self.state);
                loop {
                    if state.error.is_some() || state.closed && state.open == 0 {
                        return;
                    }
                    match state.jobs.pop_front() {
                        Some(job) => break job,
                        None => {
                            state =
                                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                        }
                    }
                }
            };
            let done = match job {
                Job::List(work) => self.list(work),
                Job::Batch(running, tests) => self.batch(&running, tests),
            };
            if let Err(error) = done {
                self.fail(error);
            }
            lock(&self.state).open -= 1;
            self.changed.notify_all();
        }
    }

    /// Learns which tests an image holds and queues those without a result.
    fn list(&self, work: Work) -> Result<()> {
        let name = work.name();
        let listed = work.machine.list(self.sdk);
        let tests = listed.with_context(|| format!("{name} cannot be run"))?;
        let key = programs::key(self.sdk, &work.machine)?;
        let record = Record::open(&work.suite, &work.program, &key, self.options.fresh)?;
        let wanted = |test: &Test| {
            let filter = self.options.filter.as_deref();
            filter.is_none_or(|filter| test.name.contains(filter))
        };
        let due = |test: &&Test| {
            let excluded = self.exclusions.of(&name, &test.name);
            let known = match record.verdict(&test.name) {
                // What has failed gets another chance, what may fail does not need it.
                Some(verdict) => verdict.outcome != Outcome::Failed || excluded.is_some(),
                None => false,
            };
            wanted(test) && !known && excluded.is_none_or(|exclusion| exclusion.run)
        };
        let mut waiting = Vec::new();
        let mut apart = Vec::new();
        let mut ignored = Vec::new();
        let due = tests.iter().filter(|_| !self.options.list).filter(due);
        for test in due {
            if test.ignored {
                ignored.push(test.name.clone());
            } else if self.exclusions.of(&name, &test.name).is_some() {
                // Each in a machine of its own: it must not spoil the others.
                apart.push(vec![test.name.clone()]);
            } else {
                waiting.push(test.name.clone());
            }
        }
        let chosen = tests.iter().filter(|test| wanted(test)).count();
        self.show.add(chosen);
        self.show.advance(chosen - waiting.len() - apart.len());
        let batches = waiting.chunks(BATCH).map(<[String]>::to_vec);
        let batches = batches.chain(apart).collect::<Vec<_>>();
        let running = Arc::new(Running {
            left: Mutex::new(batches.len()),
            record: Mutex::new(record),
            work,
            tests,
        });
        for test in ignored {
            let verdict = Verdict { outcome: Outcome::Ignored, said: String::new(), took: 0 };
            lock(&running.record).add(&test, verdict)?;
        }
        if batches.is_empty() {
            return self.finish(&running);
        }
        for batch in batches {
            self.push(Job::Batch(running.clone(), batch));
        }
        Ok(())
    }

    /// Runs a batch; what is left of it when the machine ends is queued again.
    fn batch(&self, running: &Arc<Running>, mut tests: Vec<String>) -> Result<()> {
        let name = running.work.name();
        self.show.at(&name);
        let mut ended = Vec::new();
        running.work.machine.run(self.sdk, &tests, |test, verdict| {
            let excluded = self.exclusions.of(&name, test).is_some();
            self.show.test(&name, test, &verdict, excluded);
            ended.push(test.to_owned());
            lock(&running.record).add(test, verdict)
        })?;
        tests.retain(|test| !ended.contains(test));
        if !tests.is_empty() {
            self.push(Job::Batch(running.clone(), tests));
            return Ok(());
        }
        let last = {
            let mut left = lock(&running.left);
            *left -= 1;
            *left == 0
        };
        match last {
            true => self.finish(running),
            false => Ok(()),
        }
    }

    /// Hands out an image's results.
    fn finish(&self, running: &Running) -> Result<()> {
        if running.tests.is_empty() {
            return Ok(());
        }
        let record = lock(&running.record);
        let tests = running.tests.iter();
        let tests = tests.map(|test| (test.name.clone(), record.verdict(&test.name).cloned()));
        let results = Results {
            suite: running.work.suite.clone(),
            program: running.work.program.clone(),
            tests: tests.collect(),
        };
        if !self.options.list {
            self.show.program(&results, self.exclusions);
        }
        lock(&self.state).results.push(results);
        Ok(())
    }
}

/// How long all tests of a program took, in seconds.
pub fn seconds(results: &Results) -> f64 {
    let verdicts = results.tests.iter().filter_map(|(_, verdict)| verdict.as_ref());
    verdicts.map(|verdict| verdict.took).sum::<u64>() as f64 / 1000.0
}

/// The time since `start` as a person reads it.
pub fn elapsed(start: Instant) -> String {
    let seconds = start.elapsed().as_secs();
    format!("{}:{:02} min", seconds / 60, seconds % 60)
}
