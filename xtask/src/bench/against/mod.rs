//! `cargo xtask bench --against linux`: the same programs on Skete and on Linux, in the same machine.
//!
//! Every number is measured for both, by the same code. What SPECIFICATION.md has a goal for is held
//! against it; a goal that is missed is told, and is no error.

mod boot;
mod document;
mod idle;
pub mod network;
mod readings;
mod scaling;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::instructions::Counter;
use super::specification::{self, Cells, Specification, Table};
use super::{Measurement, Subject, Unit, operations};
use crate::linux::{Linux, MEMORY, Program};
use crate::progress::Step;
use crate::qemu::{Machine, Vm};
use crate::sdk::{self, Sdk};

/// The most that one run may take: a machine that does not end has failed.
const LIMIT: Duration = Duration::from_secs(180);

/// What a program is measured on.
struct Systems {
    sdk: Sdk,
    linux: Linux,
}

/// A program, built for both systems.
struct Pair {
    skete: Subject,
    linux: Subject,
}

impl Systems {
    fn program(&self, name: &str) -> Result<Pair> {
        let machine =
            |vm: Vm| Vm { machine: Machine::Pc, memory: MEMORY, timeout: Some(LIMIT), ..vm };
        let skete = Subject::build(name)?;
        let program = Program::build(&self.sdk, name)?;
        Ok(Pair {
            skete: Subject { vm: machine(skete.vm), image: skete.image },
            linux: Subject {
                vm: machine(self.linux.vm(&self.sdk, &program)?),
                image: program.symbols,
            },
        })
    }
}

impl Pair {
    /// Measures both.
    fn both<T>(&self, measure: impl Fn(&Subject) -> Result<T>) -> Result<[T; 2]> {
        let skete = measure(&self.skete).context("on Skete")?;
        let linux = measure(&self.linux).context("on Linux")?;
        Ok([skete, linux])
    }
}

/// One number of both systems.
struct Row {
    /// What it is; the name of its goal in SPECIFICATION.md, if there is one.
    name: &'static str,
    /// What it counts.
    unit: Unit,
    /// Skete's and Linux's.
    values: [f64; 2],
}

impl Row {
    fn new(name: &'static str, unit: Unit, values: [f64; 2]) -> Self {
        Self { name, unit, values }
    }

    /// The numbers as they are written.
    fn texts(&self) -> [String; 2] {
        self.values.map(|value| {
            let (name, unit) = (self.name, self.unit);
            Measurement { name, value, unit }.to_string()
        })
    }
}

/// Rows about one thing.
struct Section {
    title: &'static str,
    rows: Vec<Judged>,
}

/// A row with the goal for Skete's number, if there is one.
struct Judged {
    row: Row,
    goal: Option<specification::Row>,
}

impl Judged {
    /// The goal as it is written.
    fn goal(&self) -> &str {
        self.goal.as_ref().map_or("–", |goal| &goal.promise_text)
    }

    /// Whether the goal is reached.
    fn reached(&self) -> Option<bool> {
        let goal = self.goal.as_ref()?;
        Some(self.row.values[0] <= goal.promise)
    }

    /// Whether the goal is reached, in a word.
    fn verdict(&self) -> &'static str {
        match self.reached() {
            Some(true) => "reached",
            Some(false) => "missed",
            None => "–",
        }
    }
}

/// Runs `cargo xtask bench --against linux` with this kernel, or the distribution's.
pub fn run(kernel: Option<&Path>, json: bool) -> Result<()> {
    let systems = Systems { sdk: sdk::ensure()?, linux: Linux::ensure(kernel)? };
    let measured = measure(&systems)?;
    show_and_write(&systems, measured, json, document::Kind::Programs)
}

/// Holds rows against their goals, prints them, and writes them down.
fn show_and_write(
    systems: &Systems,
    measured: Vec<(&'static str, Vec<Row>)>,
    json: bool,
    kind: document::Kind,
) -> Result<()> {
    let mut goals = Specification::read(Table::Goals)?;
    let judged = |row: Row| {
        let goal = goals.find(row.name)?;
        Ok(Judged { row, goal })
    };
    let sections = measured
        .into_iter()
        .map(|(title, rows)| {
            let rows = rows.into_iter().map(judged).collect::<Result<_>>()?;
            Ok(Section { title, rows })
        })
        .collect::<Result<Vec<Section>>>()?;
    if json {
        println!("{}", report(&sections)?);
    } else {
        show(&sections);
    }
    let rows = sections.iter().flat_map(|section| &section.rows);
    let cells = rows.map(|judged| {
        let [skete, linux] = judged.row.texts();
        Cells { name: judged.row.name, measured: skete, beside: Some(linux) }
    });
    goals.write(&cells.collect::<Vec<_>>())?;
    document::write(systems, &sections, kind)
}

/// All rows, by what they are about.
fn measure(systems: &Systems) -> Result<Vec<(&'static str, Vec<Row>)>> {
    let step = Step::new("building programs for Skete and Linux");
    let counter = Counter::build()?;
    let hello = systems.program("hello")?;
    let operations = systems.program("operations")?;
    let scaling = systems.program("scaling")?;
    step.done();
    let step = Step::new("booting hello and looking for the least memory");
    let boot = boot::measure(&counter, &hello)?;
    step.done();
    let step = Step::new("counting the instructions of operations");
    let mut one = counted(&counter, &operations, &operations::PROMISED)?;
    let mut time = counted(&counter, &operations, &[operations::NOW])?;
    step.done();
    let step = Step::new("measuring time on one processor and on two");
    let times = scaling::Times::measure(&operations)?;
    one.push(times.beside_host()?);
    let mut two = vec![times.by_processors()?];
    two.extend(scaling::measure(&scaling)?);
    time.extend(scaling::sleeps(&scaling)?);
    step.done();
    let step = Step::new("measuring idle machines");
    two.extend(idle::measure(&scaling)?);
    step.done();
    Ok(vec![
        ("Boot, memory and size", boot),
        ("Operations on one processor", one),
        ("Two processors", two),
        ("Time", time),
    ])
}

/// The guest instructions of operations on both systems.
fn counted(
    counter: &Counter,
    program: &Pair,
    wanted: &[operations::Operation],
) -> Result<Vec<Row>> {
    let [skete, linux] = program.both(|subject| operations::measure(counter, subject, wanted))?;
    let rows = skete.into_iter().zip(linux);
    Ok(rows
        .map(|(skete, linux)| Row::new(skete.name, skete.unit, [skete.value, linux.value]))
        .collect())
}

fn show(sections: &[Section]) {
    let rows = || sections.iter().flat_map(|section| &section.rows);
    let names = rows().map(|judged| judged.row.name.chars().count());
    let width = names.max().unwrap_or(0);
    println!("{:width$}  {:>20}  {:>24}  {:>20}", "", "Skete", "Linux", "goal");
    for judged in rows() {
        let [skete, linux] = judged.row.texts();
        let mark = match judged.reached() {
            Some(false) => "  missed",
            _ => "",
        };
        println!(
            "{:width$}  {skete:>20}  {linux:>24}  {:>20}{mark}",
            judged.row.name,
            judged.goal()
        );
    }
}

fn report(sections: &[Section]) -> Result<String> {
    let rows = sections.iter().flat_map(|section| &section.rows);
    let rows: Vec<_> = rows
        .map(|judged| {
            let [skete, linux] = judged.row.values;
            json!({
                "name": judged.row.name,
                "unit": judged.row.unit.to_string(),
                "skete": skete,
                "linux": linux,
                "goal": judged.goal.as_ref().map(|goal| goal.promise),
                "reached": judged.reached(),
            })
        })
        .collect();
    serde_json::to_string_pretty(&rows).context("cannot write JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged_by_the_number_of_skete() {
        let judged = |skete, goal: Option<f64>| Judged {
            row: Row::new("time", Unit::Times, [skete, 9.0]),
            goal: goal.map(|promise| specification::Row {
                promise,
                promise_text: format!("{promise} ×"),
                relative: String::new(),
            }),
        };
        assert_eq!(judged(1.0, Some(1.0)).verdict(), "reached");
        assert_eq!(judged(1.1, Some(1.0)).verdict(), "missed");
        assert_eq!(judged(1.1, None).verdict(), "–");
        assert_eq!(judged(1.1, Some(2.0)).goal(), "2 ×");
    }
}
