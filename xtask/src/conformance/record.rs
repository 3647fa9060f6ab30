//! The results of one image, kept in a file that grows line by line: an interrupted run goes on
//! where it was, and a changed image begins anew.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::paths;

/// How a test ended, for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not as it should, or its machine ended with it.
    Failed,
    /// The test's own source says that it is not to be run.
    Ignored,
}

/// What became of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// How long it took, in milliseconds of this run.
    #[serde(default)]
    pub took: u64,
}

/// The first line of a file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    suite: String,
    program: String,
    key: String,
}

/// The line of one test.
#[derive(Serialize, Deserialize)]
struct Line {
    test: String,
    #[serde(flatten)]
    verdict: Verdict,
}

/// The results of one image.
#[derive(Debug)]
pub struct Record {
    file: File,
    verdicts: BTreeMap<String, Verdict>,
}

impl Record {
    /// Opens the results of `program` in `suite`. What was recorded under another `key` is dropped,
    /// everything when `fresh`.
    pub fn open(suite: &str, program: &str, key: &str, fresh: bool) -> Result<Record> {
        let path = directory().join(format!("{suite}.{program}.jsonl"));
        Record::open_at(&path, suite, program, key, fresh)
    }

    fn open_at(path: &Path, suite: &str, program: &str, key: &str, fresh: bool) -> Result<Record> {
        let head =
            Head { suite: suite.to_owned(), program: program.to_owned(), key: key.to_owned() };
        let open = || -> Result<Record> {
            let kept = fs::read_to_string(path).unwrap_or_default();
            let (mut verdicts, whole) = read(&kept, &head);
            if fresh {
                verdicts.clear();
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let going_on = whole && !verdicts.is_empty();
            let mut options = File::options();
            options.create(true).append(going_on);
            let mut file = match going_on {
                true => options.open(path)?,
                false => options.write(true).truncate(true).open(path)?,
            };
            if !going_on {
                write(&mut file, &head)?;
                for (test, verdict) in &verdicts {
                    let (test, verdict) = (test.clone(), verdict.clone());
                    write(&mut file, &Line { test, verdict })?;
                }
            }
            Ok(Record { file, verdicts })
        };
        open().with_context(|| format!("cannot keep results in {}", path.display()))
    }

    /// What became of a test.
    pub fn verdict(&self, test: &str) -> Option<&Verdict> {
        self.verdicts.get(test)
    }

    /// Adds a test's end; a later one replaces an earlier one.
    pub fn add(&mut self, test: &str, verdict: Verdict) -> Result<()> {
        let test = test.to_owned();
        self.verdicts.insert(test.clone(), verdict.clone());
        write(&mut self.file, &Line { test, verdict }).context("cannot write a result")
    }
}

/// Where the results lie.
fn directory() -> PathBuf {
    paths::generated().join("conformance/results")
}

fn write(file: &mut File, line: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// The results in a file that begins with `head`, and whether its last line is whole.
fn read(text: &str, head: &Head) -> (BTreeMap<String, Verdict>, bool) {
    let mut lines = text.lines();
    let first = lines.next().map(serde_json::from_str::<Head>);
    if !first.is_some_and(|first| first.is_ok_and(|first| first == *head)) {
        return (BTreeMap::new(), false);
    }
    let lines = lines.filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let verdicts = lines.map(|line| (line.test, line.verdict)).collect();
    (verdicts, text.ends_with('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(outcome: Outcome, said: &str) -> Verdict {
        Verdict { outcome, said: said.into(), took: 3 }
    }

    #[test]
    fn an_interrupted_run_goes_on() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("results/suite.lib.jsonl");
        let open = |key, fresh| Record::open_at(&path, "suite", "lib", key, fresh);
        let mut record = open("1", false)?;
        record.add("a", verdict(Outcome::Failed, "why"))?;
        record.add("b", verdict(Outcome::Passed, ""))?;
        record.add("a", verdict(Outcome::Passed, ""))?;
        drop(record);
        // As if the run had ended in the middle of a line.
        let mut text = fs::read_to_string(&path)?;
        text.push_str("{\"test\":\"c\",\"outc");
        fs::write(&path, &text)?;
        let mut record = open("1", false)?;
        assert_eq!(record.verdict("a"), Some(&verdict(Outcome::Passed, "")), "the last one counts");
        assert_eq!(record.verdict("c"), None);
        record.add("c", verdict(Outcome::Ignored, ""))?;
        drop(record);
        let record = open("1", false)?;
        assert!(["a", "b", "c"].iter().all(|test| record.verdict(test).is_some()));
        Ok(())
    }

    #[test]
    fn a_changed_image_begins_anew() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("suite.lib.jsonl");
        let open = |key, fresh| Record::open_at(&path, "suite", "lib", key, fresh);
        open("1", false)?.add("a", verdict(Outcome::Passed, ""))?;
        assert!(open("1", false)?.verdict("a").is_some());
        assert!(open("1", true)?.verdict("a").is_none());
        open("1", false)?.add("a", verdict(Outcome::Passed, ""))?;
        assert!(open("2", false)?.verdict("a").is_none());
        assert!(open("1", false)?.verdict("a").is_none());
        Ok(())
    }
}
