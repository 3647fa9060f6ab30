//! What a machine costs the host while its program sleeps.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::{Subject, Unit};
use super::{Pair, Row};
use crate::process;
use crate::qemu::Vm;
use crate::stream::Output;

/// How long the program sleeps, in seconds.
const SECONDS: &str = "10";
/// What the program writes before and after it sleeps.
const WORDS: [&str; 2] = ["idle begins", "idle ended"];

/// Rows for one processor and for two.
pub fn measure(scaling: &Pair) -> Result<Vec<Row>> {
    let rows = [
        ("idle for 10 s: a host's processor, with one", 1),
        ("idle for 10 s: a host's processor, with two", 2),
    ];
    let rows = rows.map(|(name, smp)| {
        let shares = scaling.both(|subject| share(subject, smp))?;
        Ok(Row::new(name, Unit::Percent, shares))
    });
    rows.into_iter().collect()
}

/// The processor time of QEMU while the program sleeps, as a share of the time that passes.
fn share(subject: &Subject, smp: u32) -> Result<f64> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let file = directory.path().join("pid");
    let mut vm = Vm { smp, args: vec!["idle".to_owned(), SECONDS.to_owned()], ..subject.vm() };
    vm.qemu_args.extend(["-pidfile".into(), file.clone().into()]);
    let mut meter = Meter { process: file, text: String::new(), readings: Vec::new() };
    let run = vm.watch(&mut meter)?;
    let [(begin, used_before), (end, used_after)] = meter.readings[..] else {
        bail!("the idle program did not get to its end: {}", run.why_no_status());
    };
    if run.status != Some(0) {
        bail!("the idle program has failed: {}", run.why_no_status());
    }
    let used = used_after.saturating_sub(used_before).as_secs_f64();
    Ok(100.0 * used / end.duration_since(begin).as_secs_f64())
}

/// Reads QEMU's processor time at each of the program's words.
struct Meter {
    /// QEMU writes its process number there.
    process: PathBuf,
    /// All that the program has written.
    text: String,
    /// The time of a word, and what QEMU had used then.
    readings: Vec<(Instant, Duration)>,
}

impl Meter {
    fn processor_time(&self) -> Result<Duration> {
        let text = fs::read_to_string(&self.process).context("QEMU wrote no process number")?;
        let number = text.trim().parse().context("QEMU wrote no process number")?;
        process::processor_time(number)
    }
}

impl Output for Meter {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text.push_str(&String::from_utf8_lossy(bytes));
        while let Some(word) = WORDS.get(self.readings.len())
            && self.text.contains(word)
        {
            let used = self.processor_time().map_err(io::Error::other)?;
            self.readings.push((Instant::now(), used));
        }
        Ok(())
    }

    fn stderr(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_reads_at_each_word_once() -> Result<()> {
        let own = tempfile::NamedTempFile::new()?;
        fs::write(own.path(), std::process::id().to_string())?;
        let mut meter =
            Meter { process: own.path().to_owned(), text: String::new(), readings: Vec::new() };
        for (part, count) in [("idle be", 0), ("gins\r\n", 1), ("idle", 1), (" ended\n", 2)] {
            meter.stdout(part.as_bytes())?;
            assert_eq!(meter.readings.len(), count, "after `{part}`");
        }
        Ok(())
    }
}
