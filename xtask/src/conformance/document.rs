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
         test after the other. `cargo xtask conformance` does it again and writes this file.\n\n\
         Rust {release}. *Ignored* are tests that their own source marks so. *Excluded* are tests that\n\
         cannot pass; each is named below with the reason. A test that fails without being named\n\
         there fails the run, and so does a name there whose test passes or does not exist.\n\n\
         ## The standard library\n\n"
    );
    let (library, crates): (Vec<_>, Vec<_>) = results
        .iter()
        .partition(|results| library::SUITES.contains(&results.suite.as_str()));
    let mut total = Tally::default();
    text.push_str(
        "| suite | passed | failed | excluded | ignored |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    for results in &library {
        let tally = Tally::of(results, exclusions);
        total += tally;
        row(
            &mut text,
            &format!("{}/{}", results.suite, results.program),
            &tally,
        );
    }
    row(&mut text, "together", &total);
    share(&mut text, &total);

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
    row(&mut text, &format!("{count} crates | | together"), &total);
    share(&mut text, &total);

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
        let _ = write!(text, "\n{reason}:\n\n");
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

fn share(text: &mut String, tally: &Tally) {
    // Cut, not rounded: a share of 100 means all.
    let share = (tally.share() * 1000.0).floor() / 10.0;
    let _ = writeln!(text, "\n{share} % of those that are not ignored pass.");
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

/// The tests that an exclusion means.
fn tests(results: &[Results], exclusion: &Exclusion) -> Vec<String> {
    let programs = results
        .iter()
        .filter(|results| results.name() == exclusion.program);
    let tests = programs.flat_map(|results| &results.tests);
    let tests = tests.filter(|(test, _)| exclusion.matches(&exclusion.program, test));
    tests
        .map(|(test, _)| format!("{} {test}", exclusion.program))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::record::{Outcome, Verdict};

    fn results(suite: &str, tests: &[(&str, Outcome)]) -> Results {
        let tests = tests.iter().map(|&(test, outcome)| {
            let verdict = Verdict {
                outcome,
                said: String::new(),
                took: 7,
            };
            (test.to_owned(), Some(verdict))
        });
        Results {
            suite: suite.to_owned(),
            program: "lib".to_owned(),
            tests: tests.collect(),
        }
    }

    #[test]
    fn every_exclusion_is_named_with_its_reason() -> Result<()> {
        let exclusions = Exclusions::parse(
            "[[exclusion]]\nreason = \"no network\"\ntests = [\"std/lib net::*\", \"c/lib b\"]\n",
        )?;
        let corpus = Corpus::parse(
            "without = []\n[[crate]]\nname = \"c\"\nversion = \"1.0.0\"\ncategory = \"text\"\n",
        )?;
        use Outcome::{Failed, Ignored, Passed};
        let results = [
            results(
                "std",
                &[("net::a", Failed), ("net::b", Failed), ("c", Passed)],
            ),
            results("c", &[("a", Ignored), ("b", Failed), ("d", Failed)]),
        ];
        let text = text("1.96.0", &results, &exclusions, &corpus);
        assert!(text.contains("| std/lib | 1 | 0 | 2 | 0 |"), "{text}");
        assert!(
            text.contains("| c | 1.0.0 | text | 0 | 1 | 1 | 1 |"),
            "{text}"
        );
        let list = "\nno network:\n\n- `std/lib net::a`\n- `std/lib net::b`\n- `c/lib b`\n";
        assert!(text.ends_with(list), "{text}");
        Ok(())
    }
}
