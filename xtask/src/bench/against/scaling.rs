//! What a second processor gives, and how exact sleep is, as `tests/programs/scaling` and
//! `tests/programs/operations` tell: wall times, of which only ratios of one run are kept.

use anyhow::Result;

use super::super::{Subject, Unit};
use super::readings::Readings;
use super::{Pair, Row};
use crate::qemu::Vm;

/// Boots of each kind, of which the shortest times count: others can only lengthen them.
const ROUNDS: usize = 3;

/// Rows that are one time of `scaling` by another one.
const RATIOS: [(&str, &str, &str); 4] = [
    ("two busy threads: time, by that of one", "busy-2", "busy-1"),
    (
        "allocation from 2 threads: time, by that from one",
        "allocation-2",
        "allocation-1",
    ),
    (
        "allocation from 8 threads: time, by that from one",
        "allocation-8",
        "allocation-1",
    ),
    (
        "allocation from 128 threads: time, by that from one",
        "allocation-128",
        "allocation-1",
    ),
];

/// One processor against two, and the machine against the host.
pub fn measure(operations: &Pair, scaling: &Pair) -> Result<Vec<Row>> {
    let [one, two] = [1, 2].map(|smp| operations.both(|subject| shortest(subject, smp, &[])));
    let (one, two) = (one?, two?);
    // The program itself: on the host it is an ordinary process.
    let native = least(|| Readings::of_host(&operations.linux.image))?;
    let ratio = |name: &str, above: &Readings, below: &Readings| -> Result<f64> {
        Ok(above.get(name)? / below.get(name)?)
    };
    let mut rows = vec![
        Row::new(
            "a thread is spawned and joined: time, by that on the host's own Linux",
            Unit::Times,
            [
                ratio("spawn-join", &one[0], &native)?,
                ratio("spawn-join", &one[1], &native)?,
            ],
        ),
        Row::new(
            "mpsc, there and back: time on two processors, by that on one",
            Unit::Times,
            [
                ratio("mpsc", &two[0], &one[0])?,
                ratio("mpsc", &two[1], &one[1])?,
            ],
        ),
    ];
    let scaled =
        scaling.both(|subject| shortest(subject, 2, &["processors", "busy", "allocation"]))?;
    let [skete, linux] = &scaled;
    rows.push(Row::new(
        "processors that the program finds, of two",
        Unit::Processors,
        [skete.get("processors")?, linux.get("processors")?],
    ));
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
        row("a sleep of 1 ms: how late it ends, median", "sleep-median")?,
        row(
            "a sleep of 1 ms: how late it ends, worst of 200",
            "sleep-worst",
        )?,
    ])
}

/// The shortest times of several boots.
fn shortest(subject: &Subject, smp: u32, args: &[&str]) -> Result<Readings> {
    let vm = Vm {
        smp,
        args: args.iter().map(|&word| word.to_owned()).collect(),
        ..subject.vm()
    };
    least(|| Readings::of_machine(&vm))
}

/// The least numbers of several runs.
fn least(run: impl Fn() -> Result<Readings>) -> Result<Readings> {
    (1..ROUNDS).try_fold(run()?, |least, _| Ok(least.least(run()?)))
}
