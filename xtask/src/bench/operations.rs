//! Guest instructions of single operations, done many times by `tests/programs/operations`.

use anyhow::Result;

use super::instructions::Counter;
use super::{Measurement, Subject, Unit};

/// Between what the program counts.
const MARKS: [&str; 2] = ["operation_begins", "operation_ended"];

/// An operation that the program does.
pub struct Operation {
    /// Its row in a table.
    pub name: &'static str,
    /// The program's name for it.
    pub word: &'static str,
    /// How often it is done: often enough that a few interrupts do not show.
    count: u32,
}

const fn operation(name: &'static str, word: &'static str, count: u32) -> Operation {
    Operation { name, word, count }
}

/// The operations that SPECIFICATION.md has promises for.
pub const PROMISED: [Operation; 6] = [
    operation("a thread is spawned and joined", "spawn-join", 400),
    operation("an uncontended mutex is locked and unlocked", "mutex", 20_000),
    operation("yield, with two threads", "yield", 10_000),
    operation("park and unpark, there and back", "park-unpark", 4_000),
    operation("mpsc, there and back", "mpsc", 4_000),
    operation("64 bytes are allocated and freed", "box", 20_000),
];

/// Reading the monotonic clock.
pub const NOW: Operation = operation("the monotonic clock is read", "now", 20_000);

/// Instructions of each operation; `subject` is the program.
pub fn measure(
    counter: &Counter,
    subject: &Subject,
    operations: &[Operation],
) -> Result<Vec<Measurement>> {
    let measured = operations.iter().map(|operation| {
        let mut vm = subject.vm();
        vm.args = vec![operation.word.to_owned(), operation.count.to_string()];
        let report = counter.run(vm, &subject.image, &MARKS, &[])?;
        let [begins, ended] = MARKS.map(|mark| report.total(mark));
        Ok(Measurement {
            name: operation.name,
            value: (ended? - begins?) as f64 / f64::from(operation.count),
            unit: Unit::Instructions,
        })
    });
    measured.collect()
}
