//! How a step ends, and the tally of all of them.

use std::fmt::Display;
use std::io::{self, ErrorKind};

/// Why a step did not end well.
#[derive(Debug)]
pub enum Trouble {
    /// The platform says that it does not have this.
    Unsupported(String),
    /// The step needs an option that was not given.
    NotAskedFor(String),
    /// An error, or a result that is not what it should be.
    Failed(String),
}

/// How a step ends. `Ok` carries a remark that is printed behind `ok`; it may be empty.
pub type Outcome = Result<String, Trouble>;

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        if error.kind() == ErrorKind::Unsupported {
            Trouble::Unsupported(error.to_string())
        } else {
            Trouble::Failed(format!("{error} ({:?})", error.kind()))
        }
    }
}

/// A step's failure for any other reason.
pub fn failed(reason: impl Display) -> Trouble {
    Trouble::Failed(reason.to_string())
}

/// The end of a step that went well and has nothing to say.
pub fn fine() -> Outcome {
    Ok(String::new())
}

/// Fails the step unless the condition holds; names the condition.
#[macro_export]
macro_rules! ensure {
    ($condition:expr) => {
        if !$condition {
            return Err($crate::report::failed(concat!("wrong: ", stringify!($condition))));
        }
    };
}

/// Fails the step unless both sides are equal; prints both.
#[macro_export]
macro_rules! ensure_eq {
    ($left:expr, $right:expr) => {
        match (&$left, &$right) {
            (left, right) => {
                if left != right {
                    return Err($crate::report::failed(format!(
                        "{} is {left:?}, not {right:?}",
                        stringify!($left)
                    )));
                }
            }
        }
    };
}

/// Fails the step unless the result is an `io::Error` of this kind.
pub fn expect_error<T>(result: io::Result<T>, kind: ErrorKind) -> Result<(), Trouble> {
    match result {
        Ok(_) => Err(failed(format!("success instead of {kind:?}"))),
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) if error.kind() == ErrorKind::Unsupported => Err(error.into()),
        Err(error) => Err(failed(format!("{:?} ({error}) instead of {kind:?}", error.kind()))),
    }
}

/// The tally.
#[derive(Debug, Default)]
pub struct Report {
    room: &'static str,
    ok: usize,
    failed: Vec<String>,
    unsupported: Vec<String>,
    not_asked_for: Vec<String>,
}

impl Report {
    /// Begins a group of steps.
    pub fn room(&mut self, name: &'static str) {
        self.room = name;
        println!("{name}");
    }

    /// Takes one step. A panic in it is a failure where panics unwind.
    pub fn step(&mut self, name: &str, step: impl FnOnce() -> Outcome) {
        let outcome = if cfg!(panic = "unwind") {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(step))
                .unwrap_or_else(|_| Err(failed("panicked")))
        } else {
            step()
        };
        let name_in_full = || format!("{}: {name}", self.room);
        let end = match outcome {
            Ok(remark) => {
                self.ok += 1;
                if remark.is_empty() { "ok".to_owned() } else { format!("ok ({remark})") }
            }
            Err(Trouble::Unsupported(reason)) => {
                self.unsupported.push(name_in_full());
                format!("unsupported: {reason}")
            }
            Err(Trouble::NotAskedFor(reason)) => {
                self.not_asked_for.push(name_in_full());
                format!("not asked for: {reason}")
            }
            Err(Trouble::Failed(reason)) => {
                self.failed.push(name_in_full());
                format!("no: {reason}")
            }
        };
        println!("  {name:<34} {end}");
    }

    /// How many steps ended in `no`.
    pub fn failed(&self) -> usize {
        self.failed.len()
    }

    /// Prints what did not end in `ok`, then the counts.
    pub fn print_summary(&self) {
        println!();
        for (title, names) in [
            ("failed", &self.failed),
            ("unsupported", &self.unsupported),
            ("not asked for", &self.not_asked_for),
        ] {
            for name in names {
                println!("{title}: {name}");
            }
        }
        println!(
            "{} steps: {} ok, {} failed, {} unsupported, {} not asked for",
            self.ok + self.failed.len() + self.unsupported.len() + self.not_asked_for.len(),
            self.ok,
            self.failed.len(),
            self.unsupported.len(),
            self.not_asked_for.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_counted_once() {
        let mut report = Report::default();
        report.room("test");
        report.step("a", fine);
        report.step("b", || Err(io::Error::from(ErrorKind::Unsupported).into()));
        report.step("c", || Err(io::Error::from(ErrorKind::NotFound).into()));
        report.step("d", || Err(Trouble::NotAskedFor("no".to_owned())));
        report.step("e", || {
            ensure_eq!(1 + 1, 3);
            fine()
        });
        assert_eq!(report.ok, 1);
        assert_eq!(report.unsupported, ["test: b"]);
        assert_eq!(report.failed, ["test: c", "test: e"]);
        assert_eq!(report.not_asked_for, ["test: d"]);
    }

    #[test]
    fn an_expected_error_must_be_of_the_expected_kind() {
        let not_found = || io::Result::<()>::Err(ErrorKind::NotFound.into());
        assert!(expect_error(not_found(), ErrorKind::NotFound).is_ok());
        assert!(expect_error(not_found(), ErrorKind::AlreadyExists).is_err());
        assert!(expect_error(Ok(()), ErrorKind::NotFound).is_err());
    }
}
