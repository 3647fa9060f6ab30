//! The tests that may fail, each by its name and with the reason (`conformance/exclusions.toml`).

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::record::Outcome;
use crate::paths;

/// Where the list lies in the repository.
pub const FILE: &str = "conformance/exclusions.toml";

/// The module whose tests may be left out as a whole, because Skete has no such thing at all.
const MODULE: &str = "std/lib process::";

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    exclusion: Vec<Group>,
}

/// Tests with the same reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// Why they cannot pass, and whose fault it is.
    reason: String,
    /// Whether they are run to see if they pass by now; not, if they would take the time limit.
    #[serde(default = "yes")]
    run: bool,
    /// `SUITE/PROGRAM TEST`, or `SUITE/PROGRAM MODULE::*`.
    tests: Vec<String>,
}

fn yes() -> bool {
    true
}

/// One test, or all tests of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// `SUITE/PROGRAM`
    pub program: String,
    /// The test's name, or the module's with `::*`.
    pub test: String,
    /// Why.
    pub reason: String,
    /// Whether it is run all the same.
    pub run: bool,
}

impl Exclusion {
    /// Whether it means this test.
    pub fn matches(&self, program: &str, test: &str) -> bool {
        self.program == program
            && match self.test.strip_suffix('*') {
                Some(module) => test.starts_with(module),
                None => self.test == test,
            }
    }

    /// Its name in the list.
    pub fn name(&self) -> String {
        format!("{} {}", self.program, self.test)
    }
}

/// All exclusions.
#[derive(Debug, Default)]
pub struct Exclusions(Vec<Exclusion>);

impl Exclusions {
    /// Reads the list.
    pub fn read() -> Result<Exclusions> {
        let path = paths::root().join(FILE);
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {FILE}"))?;
        Exclusions::parse(&text).with_context(|| format!("{FILE} is wrong"))
    }

    /// Reads the list from its text.
    pub fn parse(text: &str) -> Result<Exclusions> {
        let list: List = toml::from_str(text)?;
        let mut all = Vec::new();
        let mut names = BTreeSet::new();
        for group in list.exclusion {
            if group.reason.trim().is_empty() || group.tests.is_empty() {
                bail!("an exclusion without a reason or without tests");
            }
            for name in group.tests {
                if name.ends_with("::*") && !name.starts_with(MODULE) {
                    bail!("`{name}` leaves out a whole module; name its tests");
                }
                let Some((program, test)) = name.split_once(' ') else {
                    bail!("`{name}` is not of the form `SUITE/PROGRAM TEST`");
                };
                if !names.insert(name.clone()) {
                    bail!("`{name}` is excluded twice");
                }
                all.push(Exclusion {
                    program: program.to_owned(),
                    test: test.to_owned(),
                    reason: group.reason.trim().to_owned(),
                    run: group.run && !name.ends_with("::*"),
                });
            }
        }
        Ok(Exclusions(all))
    }

    /// The exclusion of a test.
    pub fn of(&self, program: &str, test: &str) -> Option<&Exclusion> {
        self.0.iter().find(|exclusion| exclusion.matches(program, test))
    }

    /// All of them, in their order.
    pub fn all(&self) -> &[Exclusion] {
        &self.0
    }

    /// The exclusions of a program's tests.
    pub fn within<'a>(&'a self, program: &'a str) -> impl Iterator<Item = &'a Exclusion> {
        self.0.iter().filter(move |exclusion| exclusion.program == program)
    }

    /// All programs that an exclusion names.
    pub fn programs(&self) -> BTreeSet<&str> {
        self.0.iter().map(|exclusion| exclusion.program.as_str()).collect()
    }

    /// What is wrong with the exclusions of a program, as its tests and their outcomes show:
    /// each has to name a test that exists and that does not pass.
    pub fn complaints<'a>(
        &self,
        program: &str,
        tests: &'a [(&'a str, Option<Outcome>)],
    ) -> Vec<String> {
        let mut complaints = Vec::new();
        for exclusion in self.within(program) {
            let mut matching =
                tests.iter().filter(|(test, _)| exclusion.matches(program, test)).peekable();
            if matching.peek().is_none() {
                complaints
                    .push(format!("{FILE} excludes `{}`, which does not exist", exclusion.name()));
            }
            for (test, outcome) in matching {
                let what = match outcome {
                    Some(Outcome::Passed) => "passes",
                    Some(Outcome::Ignored) => "is ignored anyway",
                    _ => continue,
                };
                complaints
                    .push(format!("{FILE} excludes `{program} {test}`, which {what}; take it out"));
            }
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"
        [[exclusion]]
        reason = "needs a thing"
        tests = ["std/env one", "core/core a::b"]

        [[exclusion]]
        reason = "no processes"
        run = false
        tests = ["std/lib process::tests::*"]
    "#;

    #[test]
    fn a_test_is_excluded_by_its_whole_name() -> Result<()> {
        let list = Exclusions::parse(LIST)?;
        assert_eq!(
            list.of("std/env", "one").map(|found| found.reason.as_str()),
            Some("needs a thing")
        );
        assert!(list.of("std/env", "one_more").is_none());
        assert!(list.of("std/lib", "one").is_none());
        assert!(list.of("std/lib", "process::tests::spawn").is_some());
        assert!(list.of("std/lib", "process::other::spawn").is_none());
        Ok(())
    }

    #[test]
    fn the_list_has_to_be_honest() -> Result<()> {
        let list = Exclusions::parse(LIST)?;
        assert_eq!(
            list.complaints("std/env", &[("one", Some(Outcome::Failed))]),
            Vec::<String>::new()
        );
        assert_eq!(list.complaints("std/env", &[("one", None)]).len(), 0);
        assert_eq!(
            list.complaints("std/env", &[("one", Some(Outcome::Passed))]),
            ["conformance/exclusions.toml excludes `std/env one`, which passes; take it out"]
        );
        assert_eq!(
            list.complaints("std/env", &[("two", None)]),
            ["conformance/exclusions.toml excludes `std/env one`, which does not exist"]
        );
        assert_eq!(list.complaints("std/lib", &[("x", None)]).len(), 1);
        Ok(())
    }

    #[test]
    fn a_wrong_list_is_refused() {
        for wrong in [
            "[[exclusion]]\nreason = \"\"\ntests = [\"a/b c\"]",
            "[[exclusion]]\nreason = \"r\"\ntests = []",
            "[[exclusion]]\nreason = \"r\"\ntests = [\"a\"]",
            "[[exclusion]]\nreason = \"r\"\ntests = [\"a/b c\", \"a/b c\"]",
            "[[exclusion]]\nreason = \"r\"\ntests = [\"a/b c::*\"]",
            "[[exclusion]]\ntests = [\"a/b c\"]",
        ] {
            assert!(Exclusions::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_repositorys_list_is_right() -> Result<()> {
        Exclusions::read().map(drop)
    }
}
