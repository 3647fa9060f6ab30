//! Guest instructions of single operations, done many times by `tests/programs/operations`.

use anyhow::Result;

use super::instructions::Counter;
use super::{Measurement, Subject, Unit};

/// Between what the program counts.
const MARKS: [&str; 2] = ["operation_begins", "operation_ended"];

/// A row of SPECIFICATION.md, the program's name for it, and how often it is done: often enough that a
/// few interrupts do not show.
const OPERATIONS: [(&str, &str, u32); 6] = [
    ("a thread is spawned and joined", "spawn-join", 400),
    (
        "an uncontended mutex is locked and unlocked",
        "mutex",
        20_000,
    ),
    ("yield, with two threads", "yield", 10_000),
    ("park and unpark, there and back", "park-unpark", 4_000),
    ("mpsc, there and back", "mpsc", 4_000),
    ("64 bytes are allocated and freed", "box", 20_000),
];

/// Instructions of each operation.
pub fn measure(counter: &Counter) -> Result<Vec<Measurement>> {
    let subject = Subject::build("operations")?;
    let measured = OPERATIONS.iter().map(|(name, operation, count)| {
        let mut vm = subject.vm();
        vm.args = vec![(*operation).to_owned(), count.to_string()];
        let report = counter.run(vm, &subject.image, &MARKS, &[])?;
        let [begins, ended] = MARKS.map(|mark| report.total(mark));
        Ok(Measurement {
            name,
            value: (ended? - begins?) as f64 / f64::from(*count),
            unit: Unit::Instructions,
        })
    });
    measured.collect()
}
