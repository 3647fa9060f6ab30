//! What a test program says of its tests: libtest's events, one JSON object a line
//! (`--format json`).

use serde::Deserialize;

/// The options by which a program of libtest reports events.
pub const OPTIONS: [&str; 3] = ["-Zunstable-options", "--format", "json"];

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A test that the program holds (`--list`).
    Found {
        /// Its name.
        name: String,
        /// Whether it is only run when asked for (`#[ignore]`).
        ignored: bool,
    },
    /// A test begins.
    Started(String),
    /// A test has ended.
    Ended {
        /// Its name.
        name: String,
        /// How.
        end: End,
        /// What it printed and why it failed.
        said: String,
    },
    /// The program has run all its tests, or named them all.
    Complete,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed,
    /// It was not run.
    Ignored,
}

/// An event as libtest writes it.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    event: Option<String>,
    name: Option<String>,
    ignore: Option<bool>,
    stdout: Option<String>,
    message: Option<String>,
    reason: Option<String>,
}

impl Event {
    /// Reads a line of a program's output. Anything else in front of the event is what a test has
    /// written to standard output by itself.
    pub fn read(line: &str) -> Option<Event> {
        let line = &line[line.find("{ \"type\": ")?..];
        let Ok(read) = serde_json::from_str::<Line>(line) else {
            return found(line);
        };
        match (read.kind.as_str(), read.event.as_deref()?) {
            ("suite", "completed" | "ok" | "failed") => Some(Event::Complete),
            ("test" | "bench", "discovered") => {
                Some(Event::Found { name: read.name?, ignored: read.ignore? })
            }
            ("test", "started") => Some(Event::Started(read.name?)),
            ("test", event) => {
                let end = match event {
                    "ok" => End::Passed,
                    "failed" => End::Failed,
                    "ignored" => End::Ignored,
                    _ => return None,
                };
                let said = [read.reason, read.message, read.stdout];
                let said = said.into_iter().flatten().collect::<Vec<_>>().join("\n");
                Some(Event::Ended { name: read.name?, end, said })
            }
            _ => None,
        }
    }
}

/// A found test whose reason to be ignored libtest has written without escaping it.
fn found(line: &str) -> Option<Event> {
    let rest = line.split_once("\"event\": \"discovered\", \"name\": \"")?.1;
    let (name, rest) = rest.split_once("\", \"ignore\": ")?;
    Some(Event::Found {
        name: serde_json::from_str(&format!("\"{name}\"")).ok()?,
        ignored: rest.starts_with("true"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_tests_is_read() {
        let line = r#"{ "type": "test", "event": "discovered", "name": "a::b", "ignore": true, "ignore_message": "", "source_path": "x.rs", "start_line": 1, "start_col": 1, "end_line": 2, "end_col": 2 }"#;
        let found = Event::Found { name: "a::b".into(), ignored: true };
        assert_eq!(Event::read(line), Some(found.clone()));
        // libtest does not escape the reason.
        let line = line.replace(r#""ignore_message": """#, r#""ignore_message": "says "no"""#);
        assert_eq!(Event::read(&line), Some(found));
        let line = r#"{ "type": "suite", "event": "completed", "tests": 1, "benchmarks": 0, "total": 1, "ignored": 1 }"#;
        assert_eq!(Event::read(line), Some(Event::Complete));
    }

    #[test]
    fn ends_are_told_apart() {
        let read = |event: &str, more: &str| {
            Event::read(&format!(r#"{{ "type": "test", "name": "t", "event": "{event}"{more} }}"#))
        };
        let ended =
            |end, said: &str| Some(Event::Ended { name: "t".into(), end, said: said.into() });
        assert_eq!(read("ok", ""), ended(End::Passed, ""));
        assert_eq!(read("ignored", ""), ended(End::Ignored, ""));
        assert_eq!(
            read("failed", r#", "stdout": "one\ntwo", "message": "why""#),
            ended(End::Failed, "why\none\ntwo")
        );
        assert_eq!(
            Event::read(r#"{ "type": "test", "event": "started", "name": "t" }"#),
            Some(Event::Started("t".into()))
        );
        // A warning that a test takes long is no end.
        assert_eq!(read("timeout", ""), None);
    }

    #[test]
    fn a_tests_own_output_in_front_does_no_harm() {
        let line = r#"noise {}{ "type": "test", "name": "t", "event": "ok" }"#;
        assert!(matches!(Event::read(line), Some(Event::Ended { .. })));
        for line in ["", "noise", "{", "{ \"type\": ", "{ \"type\": \"test\" }"] {
            assert_eq!(Event::read(line), None, "{line}");
        }
    }
}
