//! `hello` from the machine's start to its end: instructions, time, memory, bytes.

use anyhow::Result;

use super::super::instructions::{Counter, EXIT};
use super::super::memory::{IMAGES, Search};
use super::super::{Unit, size, wall};
use super::{Pair, Row};

/// Where Linux's least memory is looked for.
const LINUX: Search = Search { least: 16 << 20, most: 1 << 30, step: 1 << 20 };
/// Pairs of runs for the time, of which the median counts; one more fills the host's caches.
const PAIRS: usize = 5;

/// What it takes to run the smallest program.
pub fn measure(counter: &Counter, hello: &Pair) -> Result<Vec<Row>> {
    let counts = hello.both(|subject| {
        let report = counter.count(subject, &[])?;
        Ok((report.total("main")?, report.total(EXIT)?))
    })?;
    wall::median(&hello.linux.vm, &hello.skete.vm, 1)?;
    let longer = wall::median(&hello.linux.vm, &hello.skete.vm, PAIRS)?;
    let least = |search: &Search, subject: &super::Subject| {
        search.mebibytes(&subject.vm, &subject.expected_output()?)
    };
    let memory = [least(&IMAGES, &hello.skete)?, least(&LINUX, &hello.linux)?];
    let bytes = hello.both(size::booted)?;
    Ok(vec![
        Row::new(
            "hello: the machine's start to `main`",
            Unit::Instructions,
            counts.map(|(main, _)| main as f64),
        ),
        Row::new(
            "hello: the machine's start to its end",
            Unit::Instructions,
            counts.map(|(_, end)| end as f64),
        ),
        Row::new("hello: wall time, by that of Skete", Unit::Times, [1.0, longer]),
        Row::new("hello: least memory", Unit::Mebibytes, memory),
        Row::new("hello: all that is booted", Unit::Bytes, bytes.map(|bytes| bytes as f64)),
    ])
}
