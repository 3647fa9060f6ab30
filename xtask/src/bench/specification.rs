//! The tables of promises and of goals in SPECIFICATION.md.
//!
//! Both are written there by people and read from there: there is no second place to keep in step.
//! Only the columns of measured numbers are ours.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::paths;

/// A table of the file, between two lines that name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// What must be kept: name, promise, measured, the nearest relative's number.
    Promises,
    /// What is to be reached: name, goal, measured, a Linux guest's number.
    Goals,
}

impl Table {
    fn marks(self) -> [String; 2] {
        let name = match self {
            Self::Promises => "bench",
            Self::Goals => "goals",
        };
        ["begin", "end"].map(|what| format!("<!-- {name}: {what} -->"))
    }
}

/// The file with one of its tables.
pub struct Specification {
    path: PathBuf,
    text: String,
    table: Table,
}

/// New content for a line of the table.
pub struct Cells {
    /// What the line is called.
    pub name: &'static str,
    /// The measured number.
    pub measured: String,
    /// What stands beside it, where that is measured too.
    pub beside: Option<String>,
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
    pub fn read(table: Table) -> Result<Self> {
        let path = paths::root().join("SPECIFICATION.md");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path, text, table })
    }

    /// The promise or goal for what is called `name`.
    pub fn row(&self, name: &str) -> Result<Row> {
        self.find(name)?.with_context(|| {
            format!(
                "the table in {} has no line for `{name}`: add one with its promise",
                self.path.display()
            )
        })
    }

    /// The promise or goal for what is called `name`, if there is one.
    pub fn find(&self, name: &str) -> Result<Option<Row>> {
        let mut lines = self.table()?.lines();
        let Some(line) = lines.find(|line| cells(line).first() == Some(&name)) else {
            return Ok(None);
        };
        let [_, promise, _, relative] = *cells(line) else {
            bail!("the line for `{name}` in {} has not four cells", self.path.display());
        };
        let number = promise.split(' ').next().unwrap_or_default().replace(',', "");
        let number = number
            .parse()
            .with_context(|| format!("the promise for `{name}` is no number: {promise}"))?;
        Ok(Some(Row {
            promise: number,
            promise_text: promise.to_owned(),
            relative: relative.to_owned(),
        }))
    }

    /// Writes the measured numbers into their columns.
    pub fn write(&mut self, measured: &[Cells]) -> Result<()> {
        let table = self.table()?;
        let new: String = table.lines().map(|line| refreshed(line, measured) + "\n").collect();
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
        let [begin, end] = self.table.marks();
        let after = self.text.split_once(&format!("{begin}\n")).map(|(_, after)| after);
        let table = after.and_then(|after| after.split_once(&end)).map(|(table, _)| table);
        table.with_context(|| {
            format!("{} has no `{begin}` and `{end}` around a table", self.path.display())
        })
    }
}

/// The cells of a line of a Markdown table.
fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    inner.map(|inner| inner.split('|').map(str::trim).collect()).unwrap_or_default()
}

/// A line with its measured numbers brought up to date.
fn refreshed(line: &str, measured: &[Cells]) -> String {
    let [name, promise, _, beside] = *cells(line) else {
        return line.to_owned();
    };
    match measured.iter().find(|cells| cells.name == name) {
        Some(cells) => {
            let (measured, beside) = (&cells.measured, cells.beside.as_deref().unwrap_or(beside));
            format!("| {name} | {promise} | {measured} | {beside} |")
        }
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
before
<!-- bench: begin -->
| what | promised | measured | nearest relative |
| --- | --- | --- | --- |
| image | 100,000 bytes | ? | 534,688 bytes |
| time | 1.5 × | ? | 3.0 × |
<!-- bench: end -->
| image | 1 | 2 | 3 |
<!-- goals: begin -->
| time | 0.5 × | ? | ? |
<!-- goals: end -->
";

    fn specification(directory: &tempfile::TempDir, table: Table) -> Specification {
        Specification {
            path: directory.path().join("SPECIFICATION.md"),
            text: TEXT.to_owned(),
            table,
        }
    }

    #[test]
    fn promises_are_read() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let specification = specification(&directory, Table::Promises);
        assert_eq!(specification.row("image")?.promise, 100_000.0);
        assert_eq!(specification.row("time")?.promise, 1.5);
        assert_eq!(specification.row("time")?.relative, "3.0 ×");
        assert!(specification.row("colour").is_err());
        assert_eq!(specification.find("colour")?, None);
        let goals = super::tests::specification(&directory, Table::Goals);
        assert_eq!(goals.row("time")?.promise, 0.5);
        assert_eq!(goals.find("image")?, None);
        Ok(())
    }

    #[test]
    fn only_the_measured_column_changes() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let mut specification = specification(&directory, Table::Promises);
        let measured = Cells { name: "image", measured: "70,000 bytes".to_owned(), beside: None };
        specification.write(&[measured])?;
        let written = fs::read_to_string(&specification.path)?;
        let expected =
            TEXT.replacen("| 100,000 bytes | ? |", "| 100,000 bytes | 70,000 bytes |", 1);
        assert_eq!(written, expected);
        Ok(())
    }

    #[test]
    fn what_stands_beside_is_written_too() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let mut goals = specification(&directory, Table::Goals);
        goals.write(&[Cells {
            name: "time",
            measured: "0.4 ×".to_owned(),
            beside: Some("0.6 ×".to_owned()),
        }])?;
        let written = fs::read_to_string(&goals.path)?;
        let expected = TEXT.replace("| 0.5 × | ? | ? |", "| 0.5 × | 0.4 × | 0.6 × |");
        assert_eq!(written, expected);
        Ok(())
    }
}
