//! Runs cases beside each other.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::case::{Bench, Case};
use super::leftovers;
use super::report::Report;

/// Runs all cases, `jobs` at a time, and tells the report how each ended.
pub fn run(bench: &Bench, cases: Vec<Case>, jobs: usize, report: &mut Report) -> Result<()> {
    let next = AtomicUsize::new(0);
    let (sender, ends) = mpsc::channel();
    let sender = Mutex::new(sender);
    thread::scope(|scope| {
        for worker in 0..jobs.min(cases.len()) {
            let (sender, next, cases) = (sender.lock().map(|sender| sender.clone()), &next, &cases);
            let Ok(sender) = sender else { continue };
            thread::Builder::new().name(format!("case-{worker}")).spawn_scoped(
                scope,
                move || {
                    while let Some((number, case)) = {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        cases.get(number).map(|case| (number, case))
                    } {
                        let _ = sender.send((case, None));
                        let start = Instant::now();
                        let end = run_one(bench, case, number);
                        if sender.send((case, Some((end, start.elapsed())))).is_err() {
                            return;
                        }
                    }
                },
            )?;
        }
        drop(sender);
        for (case, end) in ends {
            match end {
                None => report.begin(&case.name),
                Some((end, time)) => report.case(&case.name, end, time),
            }
        }
        Ok(())
    })
}

fn run_one(bench: &Bench, case: &Case, number: usize) -> Result<()> {
    let mark = format!("skete-test-{}-{number}", std::process::id());
    let end = case.run(bench, &mark);
    let left = leftovers::find(&mark);
    if left.is_empty() {
        return end;
    }
    let complaint = format!("it left processes running: {left:?}");
    Err(match end {
        Ok(()) => anyhow!(complaint),
        Err(error) => error.context(complaint),
    })
}
