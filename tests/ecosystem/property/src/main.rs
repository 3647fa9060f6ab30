//! Properties checked by proptest, and one that does not hold: its counterexample is minimal.

use std::io;
use std::process::ExitCode;

use check::Check;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

const CHECKS: &[Check] = &[
    ("reversed twice", reversed_twice),
    ("text by a pattern", text_by_a_pattern),
    ("minimal counterexample", minimal_counterexample),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

fn reversed_twice() -> io::Result<()> {
    let lists = proptest::collection::vec(any::<u16>(), 0..100);
    runner(256)
        .run(&lists, |list| {
            let mut twice = list.clone();
            twice.reverse();
            twice.reverse();
            prop_assert_eq!(twice, list);
            Ok(())
        })
        .map_err(io::Error::other)
}

fn text_by_a_pattern() -> io::Result<()> {
    runner(256)
        .run(&"[a-z]{1,8}-[0-9]{2}", |text| {
            let (word, number) =
                text.split_once('-').ok_or_else(|| TestCaseError::fail("no hyphen"))?;
            prop_assert!(!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()));
            prop_assert!(number.parse::<u8>().is_ok());
            Ok(())
        })
        .map_err(io::Error::other)
}

fn minimal_counterexample() -> io::Result<()> {
    let result = runner(1_000).run(&(0..100_000_u32), |number| {
        prop_assert!(number < 1_234);
        Ok(())
    });
    match result {
        Err(TestError::Fail(_, 1_234)) => Ok(()),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}
