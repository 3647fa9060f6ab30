//! The numbers that a measuring program writes: a line `NAME NUMBER` for each.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::super::said;
use crate::process;
use crate::qemu::Vm;

/// Numbers by their names.
#[derive(Debug, Default, PartialEq)]
pub struct Readings(BTreeMap<String, f64>);

impl Readings {
    /// Boots a machine and reads what its program writes.
    pub fn of_machine(vm: &Vm) -> Result<Self> {
        let outcome = vm.capture(None)?;
        if outcome.status != Some(0) {
            bail!("a measuring program has failed: {}", said(&outcome));
        }
        Self::parse(&String::from_utf8_lossy(&outcome.stdout))
    }

    /// Runs a program on the host and reads what it writes.
    pub fn of_host(program: &Path) -> Result<Self> {
        Self::parse(&process::output(&mut Command::new(program))?)
    }

    /// Reads lines; a serial console ends them with carriage return and line feed.
    fn parse(text: &str) -> Result<Self> {
        let read = |line: &str| {
            let (name, number) = line.trim_end().split_once(' ')?;
            Some((name.to_owned(), number.parse::<f64>().ok()?))
        };
        let lines = text.lines().map(|line| {
            read(line).with_context(|| format!("a measuring program wrote `{}`", line.trim_end()))
        });
        lines.collect::<Result<_>>().map(Self)
    }

    /// Keeps the smaller number of each name.
    pub fn least(mut self, other: Self) -> Self {
        for (name, number) in other.0 {
            let kept = self.0.entry(name).or_insert(number);
            *kept = kept.min(number);
        }
        self
    }

    /// The number of this name.
    pub fn get(&self, name: &str) -> Result<f64> {
        let number = self.0.get(name).copied();
        number.with_context(|| format!("the measuring program wrote no number for `{name}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_either_console() -> Result<()> {
        let readings = Readings::parse("mutex 4.5\r\nbusy-2 700\n")?;
        assert_eq!((readings.get("mutex")?, readings.get("busy-2")?), (4.5, 700.0));
        assert!(readings.get("box").is_err());
        assert!(Readings::parse("BUG: scheduling while atomic\n").is_err());
        Ok(())
    }

    #[test]
    fn the_smaller_number_is_kept() -> Result<()> {
        let [one, other] = ["a 1\nb 5\n", "a 2\nb 4\nc 3\n"].map(Readings::parse);
        assert_eq!(one?.least(other?), Readings::parse("a 1\nb 4\nc 3\n")?);
        Ok(())
    }
}
