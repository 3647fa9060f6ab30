//! `cargo xtask bench --monitor`: the monitor beside uhyve, in the same boot of a Linux that has KVM.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Subject, start};
use crate::linux::nested::{Check, Done, Nested, Release};
use crate::test::HUNDRED;
use crate::{monitor, paths, peer, sdk};

/// Where the table lies in the repository.
const FILE: &str = "docs/monitor.md";
/// What is timed, and how often it is started for one time: Hermit's kernel takes seconds here.
const TIMED: [(&str, u32); 5] = [
    ("skete run hello", 20),
    ("uhyve -m 64MiB hello", 20),
    ("skete --version", 20),
    ("skete run hermit", 3),
    ("uhyve -m 64MiB hermit", 3),
];
/// How often that is done; the shortest counts.
const ROUNDS: usize = 5;

/// One row: what it is, the goal, what was measured, what uhyve has.
type Row = (&'static str, &'static str, String, String);

/// Measures everything and writes the table.
pub fn run() -> Result<()> {
    let subject = Subject::build("hello")?;
    let waits = Subject::build("stdio")?;
    let phases = start::phases(&subject)?;
    let (skete, uhyve, hermit) = (monitor::build()?, peer::uhyve()?, peer::hermit()?);
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let contents = [
        ("skete", read(&skete)?),
        ("uhyve", read(&uhyve)?),
        ("hello", read(&subject.vm.image)?),
        // The monitor finds `main` by its name.
        ("hello-with-names", read(&subject.image)?),
        ("stdio", read(&waits.vm.image)?),
        ("hermit", read(&hermit)?),
    ];
    let files = contents.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect::<Vec<_>>();
    let repeat = |(command, runs): &(&str, u32)| {
        let line = format!(
            "i=0; while [ $i -lt {runs} ]; do {command} > /dev/null 2>&1 || exit 1; i=$((i+1)); done"
        );
        let mut check = Check::new("time", monitor::with_path(&line));
        check.timeout = Duration::from_secs(120);
        check
    };
    let mut checks = vec![
        Check::new("warm", monitor::with_path("skete run hello; uhyve -m 64MiB hello")),
        hundred(),
    ];
    let before = checks.len();
    for _ in 0..ROUNDS {
        checks.extend(TIMED.iter().map(repeat));
        let line = monitor::with_path("skete run --stats hello-with-names");
        checks.push(Check::new("stats", line));
    }
    let nested = Nested::ensure(Release::Stable)?;
    let done = nested.run(&files, &checks, "skete-bench")?;
    let each = |which: usize| done[before + which..].iter().step_by(TIMED.len() + 1);
    let shortest = |which: usize| -> Result<Duration> {
        let (command, runs) = TIMED[which];
        let times = each(which);
        let good = times.filter(|done| done.status == Some(0)).map(|done| done.time / runs);
        let shortest = good.min();
        shortest.with_context(|| format!("`{command}` never ended well"))
    };
    let (own, other, nothing) = (shortest(0)?, shortest(1)?, shortest(2)?);
    let (hermit, hermit_uhyve) = (shortest(3)?, shortest(4)?);
    let stats = each(TIMED.len()).filter_map(Stats::read);
    let stats = stats.min_by(|one, other| one.started().total_cmp(&other.started()));
    let stats = stats.context("the monitor's numbers are not understood")?;
    let milliseconds = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1000.0);
    let ratio =
        |one: Duration, by: Duration| format!("{:.2} ×", one.as_secs_f64() / by.as_secs_f64());
    let mut rows: Vec<Row> = vec![
        ("hello: wall time, start to end", "–", milliseconds(own), milliseconds(other)),
        (
            "hello: wall time, by uhyve's with the same image",
            "–",
            ratio(own, other),
            "1.00 ×".into(),
        ),
        (
            "of it, a process that does nothing (`skete --version`)",
            "–",
            milliseconds(nothing),
            "–".into(),
        ),
        (
            "hello with Hermit's kernel instead: wall time",
            "–",
            milliseconds(hermit),
            milliseconds(hermit_uhyve),
        ),
        (
            "hello: wall time, by uhyve's with Hermit's kernel",
            "0.30 ×",
            ratio(own, hermit_uhyve),
            "1.00 ×".into(),
        ),
        ("hello: exits to user space", "20", stats.exits, "–".into()),
        ("hello: to the first instruction of the guest", "–", stats.first, "–".into()),
        ("hello: to the beginning of `main`", "–", stats.main, "–".into()),
        ("hello: to the first hypercall", "–", stats.call, "–".into()),
        ("hello: the guest's memory that was touched", "–", stats.guest, "–".into()),
        ("the monitor's own memory beside it", "4096 KiB", stats.own, "–".into()),
        (
            "the program's file, stripped, without the C library",
            "1,500,000 bytes",
            grouped(fs::metadata(monitor::build_shared()?)?.len()),
            "–".into(),
        ),
        (
            "lines of Rust, without tests",
            "6,000",
            grouped(lines(&paths::root().join("hypervisor/src"))?),
            "15,700".into(),
        ),
        (
            "100 guests at once that wait, in 2 GiB: ended well",
            "100",
            ended_well(&done[1]),
            "–".into(),
        ),
    ];
    let all = phases.iter().map(|(_, count)| count).sum();
    rows.push((
        "instructions of the monitor in user space, start to the guest's first one",
        "–",
        grouped(all),
        "–".into(),
    ));
    for (name, count) in phases {
        rows.push((name, "–", grouped(count), "–".into()));
    }
    let text = text(&nested.version()?, &rows);
    print!("{text}");
    sdk::replace(&paths::root().join(FILE), text.as_bytes())
}

/// A hundred guests at the same time, each of which waits for its input.
fn hundred() -> Check {
    let line = format!("cd /tmp; {HUNDRED}");
    let mut check = Check::new("hundred", monitor::with_path(&line));
    check.timeout = Duration::from_secs(120);
    check
}

/// How many of the guests ended with status 0.
fn ended_well(done: &Done) -> String {
    let text = String::from_utf8_lossy(&done.stdout);
    let mut lines = text.lines().map(str::split_whitespace);
    let good = lines.find_map(|mut words| {
        Some((words.next()?, words.next()?)).filter(|(_, status)| *status == "0")
    });
    good.map_or_else(|| "0".to_owned(), |(count, _)| count.to_owned())
}

/// What `--stats` has told.
struct Stats {
    exits: String,
    first: String,
    main: String,
    call: String,
    guest: String,
    own: String,
}

impl Stats {
    /// Milliseconds to the first instruction of the guest.
    fn started(&self) -> f64 {
        let number = self.first.strip_suffix("ms");
        number.and_then(|number| number.parse().ok()).unwrap_or(f64::MAX)
    }

    fn read(done: &Done) -> Option<Stats> {
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        let behind = |mark: &str, end: &str| {
            let (_, rest) = text.split_once(mark)?;
            Some(rest.split(end).next()?.trim().to_owned())
        };
        Some(Stats {
            exits: behind("exits: ", ",")?,
            first: behind("first instruction after ", ",")?,
            main: behind("main after ", ",")?,
            call: behind("first hypercall after ", ",")?,
            guest: behind("memory: guest ", " touched")?,
            own: behind("monitor ", "\n")?,
        })
    }
}

/// Lines of Rust below a directory, up to each file's tests.
fn lines(directory: &Path) -> Result<u64> {
    let mut count = 0;
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path())?;
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            count += code.lines().count() as u64;
        }
    }
    Ok(count)
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The document.
fn text(version: &str, rows: &[Row]) -> String {
    let mut text = String::from(
        "# The monitor in numbers\n\nThis file is written by\n\n    cargo xtask bench --monitor\n\n\
         which runs `skete` and uhyve 0.10 one after the other in the same boot of a Linux that has KVM, in QEMU's\n\
         translator: times there are many times those of a processor with virtualization, and are to be compared with\n\
         each other only. A time is the shortest of five means of 20 runs, or of 3 with the kernel of Hermit 0.11, the\n\
         newest in the package registry, built with the same standard library. The goals are upper bounds, but for the\n\
         hundred guests. Instructions are those outside of the kernel, counted by QEMU up to the guest's entry.\n\n",
    );
    let _ = writeln!(text, "Linux {version}.\n");
    text.push_str("| what | goal | skete | uhyve |\n| --- | ---: | ---: | ---: |\n");
    for (what, goal, own, other) in rows {
        let _ = writeln!(text, "| {what} | {goal} | {own} | {other} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_500_000), "1,500,000");
    }

    #[test]
    fn the_monitors_numbers_are_read() {
        let done = Done {
            stderr: b"skete: exits: 2, hypercalls 2\nskete: first instruction after 1.0ms, main after 1.5ms, \
                      first hypercall after 2.0ms, end after 3.0ms\nskete: memory: guest 316 KiB touched, monitor 900 KiB\n"
                .to_vec(),
            ..Done::default()
        };
        let stats = Stats::read(&done).map(|stats| {
            [stats.exits, stats.first, stats.main, stats.call, stats.guest, stats.own]
        });
        let expected = ["2", "1.0ms", "1.5ms", "2.0ms", "316 KiB", "900 KiB"].map(str::to_owned);
        assert_eq!(stats, Some(expected));
    }
}
