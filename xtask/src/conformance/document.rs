//! `docs/conformance.md`: what passes, what does not and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use super::corpus::Corpus;
use super::exclusions::{Exclusion, Exclusions};
use super::library;
use super::schedule::Results;
use super::tally::Tally;
use crate::paths;
use crate::sdk::{self, Sdk};

/// Where it lies in the repository.
pub const FILE: &str = "docs/conformance.md";

/// Writes the document from a complete run.
pub fn write(
    sdk: &Sdk,
    results: &[Results],
    exclusions: &Exclusions,
    corpus: &Corpus,
) -> Result<()> {
    let release = library::release(sdk)?.to_string();
    let text = text(&release, results, exclusions, corpus);
    sdk::replace(&paths::root().join(FILE), text.as_bytes())
}

/// The document. The same results give the same text.
fn text(release: &str, results: &[Results], exclusions: &Exclusions, corpus: &Corpus) -> String {
    let mut text = format!(
        "# Conformance\n\n\
         Rust's own test suites and those of well-known crates, run on Skete: built from their\n\
         unchanged sources (but for the changes in `conformance/changes/`, each with its reason) and\n\
         run in virtual machines (QEMU without hardware acceleration, microvm, one processor), one\n\
         test after the other. Crates that Skete changes (`docs/ecosystem.md`) are tested with these\n\
         changes. `cargo xtask conformance` does it again and writes this file.\n\n\
         Rust {release}. *Ignored* are tests that their own source marks so. *Excluded* are tests that\n\
         cannot pass; each is named below with the reason. A test that fails without being named\n\
         there fails the run, and so does a name there whose test passes or does not exist. The\n\
         share that passes is that of all tests but the ignored ones.\n\n\
         ## The standard library\n\n"
    );
    let (library, crates): (Vec<_>, Vec<_>) =
        results.iter().partition(|results| library::SUITES.contains(&results.suite.as_str()));
    text.push_str(
        "| suite | passed | failed | excluded | ignored |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    let mut totals = Vec::new();
    for suite in library::SUITES {
        let mut total = Tally::default();
        for results in library.iter().filter(|results| results.suite == suite) {
            let tally = Tally::of(results, exclusions);
            total += tally;
            row(&mut text, &results.name(), &tally);
        }
        totals.push((suite, total));
    }
    text.push_str(
        "\nTogether:\n\n| suite | passed | failed | excluded | ignored | share that passes |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (suite, total) in totals {
        total_row(&mut text, suite, &total);
    }

    text.push_str("\n## Crates\n\n");
    text.push_str("| crate | version | what it is | passed | failed | excluded | ignored |\n");
    text.push_str("| --- | --- | --- | ---: | ---: | ---: | ---: |\n");
    let mut total = Tally::default();
    let mut count = 0;
    for entry in corpus.crates() {
        let mut tally = Tally::default();
        for results in crates.iter().filter(|results| results.suite == entry.name) {
            tally += Tally::of(results, exclusions);
        }
        total += tally;
        count += 1;
        let name = format!("{} | {} | {}", entry.name, entry.version, entry.category);
        row(&mut text, &name, &tally);
    }
    text.push_str(
        "\nTogether:\n\n| crates | passed | failed | excluded | ignored | share that passes |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    total_row(&mut text, &count.to_string(), &total);

    let left_out = corpus.crates().iter().flat_map(|entry| {
        let programs = entry.left_out.iter();
        programs.map(move |(program, why)| format!("| `{}/{program}` | {why} |\n", entry.name))
    });
    let left_out = left_out.collect::<String>();
    if !left_out.is_empty() {
        let _ = write!(
            text,
            "\nTest programs that are not built:\n\n| program | why |\n| --- | --- |\n{left_out}"
        );
    }

    text.push_str("\n## Exclusions\n");
    for (reason, tests) in by_reason(results, exclusions) {
        let _ = write!(text, "\n{reason} ({}):\n\n", counts(&tests));
        for test in tests {
            let _ = writeln!(text, "- `{test}`");
        }
    }
    text
}

fn row(text: &mut String, name: &str, tally: &Tally) {
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {} |",
        tally.passed, tally.failed, tally.excluded, tally.ignored
    );
}

fn total_row(text: &mut String, name: &str, tally: &Tally) {
    // Cut, not rounded: a share of 100 means all.
    let share = (tally.share() * 1000.0).floor() / 10.0;
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {share} % |",
        tally.passed, tally.failed, tally.excluded, tally.ignored
    );
}

/// The names of the excluded tests, by their reasons, in the order of the list.
fn by_reason(results: &[Results], exclusions: &Exclusions) -> Vec<(String, Vec<String>)> {
    let mut reasons = Vec::<(String, Vec<String>)>::new();
    let mut places = BTreeMap::new();
    for exclusion in exclusions.all() {
        let place = *places.entry(exclusion.reason.clone()).or_insert_with(|| {
            reasons.push((exclusion.reason.clone(), Vec::new()));
            reasons.len() - 1
        });
        reasons[place].1.extend(tests(results, exclusion));
    }
    reasons
}

/// How many of these tests belong to each suite.
fn counts(tests: &[String]) -> String {
    let mut counts = Vec::<(&str, usize)>::new();
    for test in tests {
        let suite = test.split('/').next().unwrap_or_default();
        match counts.iter_mut().find(|(known, _)| *known == suite) {
            Some((_, count)) => *count += 1,
            None => counts.push((suite, 1)),
        }
    }
    let counts = counts.iter().map(|(suite, count)| format!("{suite} {count}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// The tests that an exclusion means.
fn tests(results: &[Results], exclusion: &Exclusion) -> Vec<String> {
    let programs = results.iter().filter(|results| results.name() == exclusion.program);
    let tests = programs.flat_map(|results| &results.tests);
    let tests = tests.filter(|(test, _)| exclusion.matches(&exclusion.program, test));
    tests.map(|(test, _)| format!("{} {test}", exclusion.program)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::record::{Outcome, Verdict};

    fn results(suite: &str, tests: &[(&str, Outcome)]) -> Results {
        let tests = tests.iter().map(|&(test, outcome)| {
            let verdict = Verdict { outcome, said: String::new(), took: 7 };
            (test.to_owned(), Some(verdict))
        });
        Results { suite: suite.to_owned(), program: "lib".to_owned(), tests: tests.collect() }
    }

    #[test]
    fn every_exclusion_is_named_with_its_reason() -> Result<()> {
        let exclusions = Exclusions::parse(
            "[[exclusion]]\nreason = \"no processes\"\ntests = [\"std/lib process::*\", \"c/lib b\"]\n",
        )?;
        let corpus = Corpus::parse(
            "without = []\n[[crate]]\nname = \"c\"\nversion = \"1.0.0\"\ncategory = \"text\"\n",
        )?;
        use Outcome::{Failed, Ignored, Passed};
        let results = [
            results("std", &[("process::a", Failed), ("process::b", Failed), ("c", Passed)]),
            results("c", &[("a", Ignored), ("b", Failed), ("d", Failed)]),
        ];
        let text = text("1.96.0", &results, &exclusions, &corpus);
        assert!(text.contains("| std/lib | 1 | 0 | 2 | 0 |"), "{text}");
        assert!(text.contains("| std | 1 | 0 | 2 | 0 | 33.3 % |"), "{text}");
        assert!(text.contains("| 1 | 0 | 1 | 1 | 1 | 0 % |"), "{text}");
        assert!(text.contains("| c | 1.0.0 | text | 0 | 1 | 1 | 1 |"), "{text}");
        let list = "\nno processes (std 2, c 1):\n\n- `std/lib process::a`\n- `std/lib process::b`\n- `c/lib b`\n";
        assert!(text.ends_with(list), "{text}");
        Ok(())
    }

    /// The rows of the first table whose head begins with `first`, without the row of dashes.
    fn table<'a>(text: &'a str, first: &str) -> Vec<Vec<&'a str>> {
        let head = format!("| {first} |");
        let lines = text.lines().skip_while(|line| !line.starts_with(&head));
        let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
        let cells = |row: &'a str| row.trim_matches('|').split(" | ").map(str::trim).collect();
        rows.map(cells).collect()
    }

    #[test]
    fn the_repositorys_document_fits_its_lists() -> Result<()> {
        let again = "run `cargo xtask conformance` to its end and commit the document";
        let text = std::fs::read_to_string(paths::root().join(FILE))?;

        let corpus = Corpus::read()?;
        let rows = table(&text, "crate");
        let got = rows.iter().map(|row| row[..3].join(" "));
        let wanted = corpus.crates().iter();
        let wanted = wanted.map(|it| format!("{} {} {}", it.name, it.version, it.category));
        assert_eq!(got.collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{again}");

        let rows = table(&text, "program");
        let got = rows.iter().map(|row| row.join(" "));
        let wanted = corpus.crates().iter().flat_map(|entry| {
            let left_out = entry.left_out.iter();
            left_out.map(move |(program, why)| format!("`{}/{program}` {why}", entry.name))
        });
        assert_eq!(got.collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{again}");

        let exclusions = Exclusions::read()?;
        let (_, list) = text.split_once("\n## Exclusions\n").unwrap_or_default();
        let mut reasons = BTreeMap::new();
        let mut reason = "";
        for line in list.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("- `").and_then(|it| it.strip_suffix('`')) {
                Some(name) => drop(reasons.insert(name, reason)),
                None => reason = line.rsplit_once(" (").map_or(line, |(reason, _)| reason),
            }
        }
        for exclusion in exclusions.all() {
            let mut named = reasons.iter().filter(|(name, _)| {
                let (program, test) = name.split_once(' ').unwrap_or_default();
                exclusion.matches(program, test)
            });
            assert!(
                named.any(|(_, &why)| why == exclusion.reason),
                "{FILE} does not name `{}` with its reason; {again}",
                exclusion.name()
            );
        }
        for name in reasons.keys() {
            let (program, test) = name.split_once(' ').unwrap_or_default();
            assert!(
                exclusions.of(program, test).is_some(),
                "{FILE} names `{name}`, which is not excluded; {again}"
            );
        }

        // What it says of the suites is what they have to reach.
        for row in table(&text, "suite").iter().chain(&table(&text, "crate")) {
            assert_eq!(row[row.len() - 3], "0", "{row:?} has failed tests");
        }
        Ok(())
    }
}
