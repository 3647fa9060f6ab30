//! Guest instructions, counted exactly by our QEMU plugin (`xtask/plugin`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};

use super::{Measurement, Subject, Unit, said};
use crate::qemu::Vm;
use crate::{paths, process};

/// Where the image is entered, and where std enters the program.
pub const MARKS: [&str; 2] = ["_start", "main"];
/// The plugin's name for the end of the machine, the last write to an I/O port.
pub const EXIT: &str = "exit";

/// Instructions from the kernel's entry to `main`, and from there to the machine's end.
pub fn measure(counter: &Counter, subject: &Subject) -> Result<Vec<Measurement>> {
    let report = counter.count(subject, &[])?;
    let [entry, main] = MARKS.map(|mark| report.total(mark));
    let (entry, main, exit) = (entry?, main?, report.total(EXIT)?);
    let row =
        |name, value: u64| Measurement { name, value: value as f64, unit: Unit::Instructions };
    Ok(vec![
        row("hello: kernel entry to `main`", main - entry),
        row("hello: `main` to the machine's end", exit - main),
    ])
}

/// A piece of code that is counted for itself.
#[derive(Debug, Clone)]
pub struct Range {
    /// Its first address.
    pub start: u64,
    /// The address behind its last one.
    pub end: u64,
    /// What it is called.
    pub name: String,
}

/// The built plugin.
pub struct Counter {
    plugin: PathBuf,
}

impl Counter {
    /// Builds the plugin.
    pub fn build() -> Result<Self> {
        let target = paths::generated().join("build/plugin");
        let mut cargo = process::cargo();
        cargo
            .args(["build", "--quiet", "--package", "skete-icount", "--release", "--target-dir"])
            .arg(&target)
            .current_dir(paths::root());
        process::run(&mut cargo).context("the plugin for QEMU does not build")?;
        Ok(Self { plugin: target.join("release/libskete_icount.so") })
    }

    /// Runs the subject's image and counts, on a machine that is the same in every run.
    pub fn count(&self, subject: &Subject, ranges: &[Range]) -> Result<Report> {
        // One instruction is one nanosecond of the machine's time, whatever the host does; dates
        // and random numbers are the same in every run.
        let fixed =
            ["-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2026-01-01,clock=vm"];
        let mut vm = subject.vm();
        vm.qemu_args.extend(fixed.map(OsString::from));
        self.run(vm, &subject.image, &MARKS, ranges)
    }

    /// Runs a machine and counts up to each of `marks`, which are functions of `image`.
    pub fn run(
        &self,
        mut vm: Vm,
        image: &Path,
        marks: &[&str],
        ranges: &[Range],
    ) -> Result<Report> {
        let count = Count::new()?;
        let marks = addresses(image, marks)?;
        vm.qemu_args.extend(self.arguments(&count, &marks, ranges)?);
        let outcome = vm.capture(None)?;
        if outcome.status != Some(0) {
            bail!(
                "the program does not run while its instructions are counted: {}",
                said(&outcome)
            );
        }
        count.report()
    }

    /// QEMU's arguments for a count up to each of some addresses, and in each of some ranges.
    pub fn arguments(
        &self,
        count: &Count,
        marks: &[(&str, u64)],
        ranges: &[Range],
    ) -> Result<[OsString; 2]> {
        let mut plugin = OsString::from(&self.plugin);
        plugin.push(",out=");
        plugin.push(count.out());
        for (name, address) in marks {
            plugin.push(format!(",mark={address:#x}:{name}"));
        }
        if !ranges.is_empty() {
            let list = count.0.path().join("ranges");
            let lines: String = ranges
                .iter()
                .map(|range| format!("{:#x} {:#x} {}\n", range.start, range.end, range.name))
                .collect();
            fs::write(&list, lines).with_context(|| format!("cannot write {}", list.display()))?;
            plugin.push(",ranges=");
            plugin.push(&list);
        }
        Ok(["-plugin".into(), plugin])
    }
}

/// A count that is made while QEMU runs.
pub struct Count(tempfile::TempDir);

impl Count {
    /// One that has not begun.
    pub fn new() -> Result<Count> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        Ok(Count(directory))
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("report")
    }

    /// What was counted, once QEMU has ended.
    pub fn report(&self) -> Result<Report> {
        let text = fs::read_to_string(self.out()).context(
            "QEMU's plugin wrote no report; is this QEMU built with plugins (10.0 or later)?",
        )?;
        Report::parse(&text)
    }
}

/// The addresses of named symbols.
fn addresses<'a>(image: &Path, names: &[&'a str]) -> Result<Vec<(&'a str, u64)>> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("{} is not an image", image.display()))?;
    names
        .iter()
        .map(|name| {
            let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
            let symbol =
                symbol.with_context(|| format!("{} has no symbol `{name}`", image.display()))?;
            Ok((*name, symbol.address()))
        })
        .collect()
}

/// What the plugin has counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    totals: BTreeMap<String, u64>,
    /// By mark, then by range.
    ranges: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Report {
    fn parse(text: &str) -> Result<Self> {
        let mut report = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(4, '\t').collect();
            match *words {
                ["mark", name, total] => {
                    report.totals.insert(name.to_owned(), total.parse()?);
                }
                ["range", mark, count, name] => {
                    let counts = report.ranges.entry(mark.to_owned()).or_default();
                    *counts.entry(name.to_owned()).or_default() += count.parse::<u64>()?;
                }
                _ => bail!("QEMU's plugin wrote a line that is not understood: {line}"),
            }
        }
        Ok(report)
    }

    /// The instructions before a mark.
    pub fn total(&self, mark: &str) -> Result<u64> {
        self.totals
            .get(mark)
            .copied()
            .with_context(|| format!("the machine never reached `{mark}`"))
    }

    /// The instructions in each range before a mark.
    pub fn in_ranges(&self, mark: &str) -> BTreeMap<String, u64> {
        self.ranges.get(mark).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() -> Result<()> {
        let report = Report::parse(
            "mark\tmain\t12\nrange\tmain\t3\ta b\nrange\tmain\t4\ta b\nmark\texit\t20\n",
        )?;
        assert_eq!((report.total("main")?, report.total("exit")?), (12, 20));
        assert_eq!(report.in_ranges("main").get("a b"), Some(&7));
        assert!(report.total("_start").is_err());
        assert!(Report::parse("nonsense").is_err());
        Ok(())
    }
}
