//! What a second processor gives, and how exact sleep is, as `tests/programs/scaling` and
//! `tests/programs/operations` tell: wall times, of which only ratios of one run are kept.

use anyhow::Result;

use super::super::{Subject, Unit};
use super::readings::Readings;
use super::{Pair, Row};
use crate::qemu::Vm;

/// Boots of each kind, of which the shortest times count: others can only lengthen them.
const ROUNDS: usize = 3;

/// Runs on the host, which are quick, and which a busy host lengthens most.
const HOST_ROUNDS: usize = 20;

/// Rows that are one time of `scaling` by another one.
const RATIOS: [(&str, &str, &str); 4] = [
    ("two busy threads: time, by that of one", "busy-2", "busy-1"),
    ("allocation from 2 threads: time, by that from one", "allocation-2", "allocation-1"),
    ("allocation from 8 threads: time, by that from one", "allocation-8", "allocation-1"),
    ("allocation from 128 threads: time, by that from one", "allocation-128", "allocation-1"),
];

/// The times of single operations.
pub struct Times {
    /// Of both systems on one processor.
    one: [Readings; 2],
    /// Of both systems on two processors.
    two: [Readings; 2],
    /// Of the program for Linux on the host itself.
    host: Readings,
}

impl Times {
    /// Runs `operations` on machines of one and of two processors, and on the host.
    pub fn measure(operations: &Pair) -> Result<Self> {
        let on = |smp| operations.both(|subject| shortest(subject, smp, &[]));
        Ok(Self {
            one: on(1)?,
            two: on(2)?,
            host: least(HOST_ROUNDS, || Readings::of_host(&operations.linux.image))?,
        })
    }

    /// The machine against the host.
    pub fn beside_host(&self) -> Result<Row> {
        ratios(
            "a thread is spawned and joined: time, by that on the host's own Linux",
            "spawn-join",
            &self.one,
            [&self.host, &self.host],
        )
    }

    /// Two processors against one.
    pub fn by_processors(&self) -> Result<Row> {
        ratios(
            "mpsc, there and back: time on two processors, by that on one",
            "mpsc",
            &self.two,
            self.one.each_ref(),
        )
    }
}

/// A row with the same time of two runs, one by the other.
fn ratios(
    name: &'static str,
    word: &str,
    above: &[Readings; 2],
    below: [&Readings; 2],
) -> Result<Row> {
    let ratio =
        |system: usize| -> Result<f64> { Ok(above[system].get(word)? / below[system].get(word)?) };
    Ok(Row::new(name, Unit::Times, [ratio(0)?, ratio(1)?]))
}

/// More threads against one, on two processors.
pub fn measure(scaling: &Pair) -> Result<Vec<Row>> {
    let words = ["processors", "busy", "allocation"];
    let scaled = scaling.both(|subject| shortest(subject, 2, &words))?;
    let [skete, linux] = &scaled;
    let mut rows = vec![Row::new(
        "processors that the program finds, of two",
        Unit::Processors,
        [skete.get("processors")?, linux.get("processors")?],
    )];
    for (name, above, below) in RATIOS {
        let value = |readings: &Readings| -> Result<f64> {
            Ok(readings.get(above)? / readings.get(below)?)
        };
        rows.push(Row::new(name, Unit::Times, [value(skete)?, value(linux)?]));
    }
    Ok(rows)
}

/// How late a short sleep ends while nothing else runs.
pub fn sleeps(scaling: &Pair) -> Result<Vec<Row>> {
    let [skete, linux] = scaling.both(|subject| shortest(subject, 1, &["sleep"]))?;
    let row = |name, word: &str| -> Result<Row> {
        let values = [skete.get(word)?, linux.get(word)?];
        Ok(Row::new(name, Unit::Microseconds, values))
    };
    Ok(vec![
        row("the first sleep of 1 ms: how late it ends", "sleep-first")?,
        row("a sleep of 1 ms: how late it ends, median", "sleep-median")?,
        row("a sleep of 1 ms: how late it ends, worst of 200", "sleep-worst")?,
    ])
}

/// The shortest times of several boots.
fn shortest(subject: &Subject, smp: u32, args: &[&str]) -> Result<Readings> {
    let vm = Vm { smp, args: args.iter().map(|&word| word.to_owned()).collect(), ..subject.vm() };
    least(ROUNDS, || Readings::of_machine(&vm))
}

/// The least numbers of several runs.
fn least(rounds: usize, run: impl Fn() -> Result<Readings>) -> Result<Readings> {
    (1..rounds).try_fold(run()?, |least, _| Ok(least.least(run()?)))
}
