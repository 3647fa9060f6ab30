//! The table of promises in SPECIFICATION.md.
//!
//! The promises are written there by people and read from there: there is no second place to
//! keep in step. Only the column of measured numbers is ours.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::Measurement;
use crate::paths;

/// The lines between which the table is.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// The file with its table.
pub struct Specification {
    path: PathBuf,
    text: String,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The most that the measured number may be.
    pub promise: f64,
    /// The promise as it is written.
    pub promise_text: String,
    /// What the nearest relative reaches, as it is written.
    pub relative: String,
}

impl Specification {
    /// Reads the file.
    pub fn read() -> Result<Self> {
        let path = paths::root().join("SPECIFICATION.md");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path, text })
    }

    /// The promise for what is called `name`.
    pub fn row(&self, name: &str) -> Result<Row> {
        let line = self
            .table()?
            .lines()
            .find(|line| cells(line).first() == Some(&name));
        let cells = line.map(cells).unwrap_or_default();
        let [_, promise, _, relative] = *cells else {
            bail!(
                "the table in {} has no line of four cells for `{name}`: add one with its promise",
                self.path.display()
            );
        };
        let number = promise
            .split(' ')
            .next()
            .unwrap_or_default()
            .replace(',', "");
        let number = number
            .parse()
            .with_context(|| format!("the promise for `{name}` is no number: {promise}"))?;
        Ok(Row {
            promise: number,
            promise_text: promise.to_owned(),
            relative: relative.to_owned(),
        })
    }

    /// Writes the measured numbers into their column.
    pub fn write(&mut self, measurements: &[Measurement]) -> Result<()> {
        let table = self.table()?;
        let new: String = table
            .lines()
            .map(|line| refreshed(line, measurements) + "\n")
            .collect();
        let text = self.text.replace(table, &new);
        if text != self.text {
            fs::write(&self.path, &text)
                .with_context(|| format!("cannot write {}", self.path.display()))?;
            self.text = text;
        }
        Ok(())
    }

    /// What is between the markers.
    fn table(&self) -> Result<&str> {
        let after = self
            .text
            .split_once(&format!("{BEGIN}\n"))
            .map(|(_, after)| after);
        let table = after
            .and_then(|after| after.split_once(END))
            .map(|(table, _)| table);
        table.with_context(|| {
            format!(
                "{} has no `{BEGIN}` and `{END}` around a table",
                self.path.display()
            )
        })
    }
}

/// The cells of a line of a Markdown table.
fn cells(line: &str) -> Vec<&str> {
    let inner = line
        .trim()
        .strip_prefix('|')
        .and_then(|line| line.strip_suffix('|'));
    inner
        .map(|inner| inner.split('|').map(str::trim).collect())
        .unwrap_or_default()
}

/// A line with its measured number brought up to date.
fn refreshed(line: &str, measurements: &[Measurement]) -> String {
    let [name, promise, _, relative] = *cells(line) else {
        return line.to_owned();
    };
    match measurements
        .iter()
        .find(|measurement| measurement.name == name)
    {
        Some(measurement) => format!("| {name} | {promise} | {measurement} | {relative} |"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Unit;

    const TEXT: &str = "\
before
<!-- bench: begin -->
| what | promised | measured | nearest relative |
| --- | --- | --- | --- |
| image | 100,000 bytes | ? | 534,688 bytes |
| time | 1.5 × | ? | 3.0 × |
<!-- bench: end -->
| image | 1 | 2 | 3 |
";

    fn specification(directory: &tempfile::TempDir) -> Specification {
        Specification {
            path: directory.path().join("SPECIFICATION.md"),
            text: TEXT.to_owned(),
        }
    }

    #[test]
    fn promises_are_read() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let specification = specification(&directory);
        assert_eq!(specification.row("image")?.promise, 100_000.0);
        assert_eq!(specification.row("time")?.promise, 1.5);
        assert_eq!(specification.row("time")?.relative, "3.0 ×");
        assert!(specification.row("colour").is_err());
        Ok(())
    }

    #[test]
    fn only_the_measured_column_changes() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let mut specification = specification(&directory);
        let measured = Measurement {
            name: "image",
            value: 70_000.0,
            unit: Unit::Bytes,
        };
        specification.write(&[measured])?;
        let written = fs::read_to_string(&specification.path)?;
        let expected = TEXT.replacen(
            "| 100,000 bytes | ? |",
            "| 100,000 bytes | 70,000 bytes |",
            1,
        );
        assert_eq!(written, expected);
        Ok(())
    }
}
