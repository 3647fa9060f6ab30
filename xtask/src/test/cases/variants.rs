//! Programs compiled in other ways.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::super::case::{Bench, Case, Guest, Steps};
use super::super::expect::Expect;
use crate::image::{self, BuildOptions, Profile};

/// A program under a profile of the case's own, so that no other build is disturbed.
fn built(bench: &Bench, program: &str, profile: &str, settings: &[&str]) -> Result<PathBuf> {
    let mut config = vec![format!("profile.{profile}.inherits=\"release\"")];
    config.extend(settings.iter().map(|setting| format!("profile.{profile}.{setting}")));
    let profile = Profile::Custom(profile.to_owned());
    let options = BuildOptions { profile, quiet: true, config, ..BuildOptions::default() };
    image::build_with(&bench.sdk, program, &options).with_context(|| format!("building {program}"))
}

/// Builds and boots programs: one of std alone, the large one, and one with crates where asked for.
fn check(bench: &Bench, mark: &str, profile: &str, settings: &[&str], crates: bool) -> Result<()> {
    let json = Expect::status(0).stdout("[\n  1,\n  2\n]\n").stderr("");
    let mut programs = vec![
        ("hello", Guest::new("hello"), Expect::status(0).stdout("Hello, world!\n").stderr("")),
        ("tour", Guest::new("tour"), Expect::status(0).out(" 0 failed")),
    ];
    if crates {
        programs.push(("json", Guest::new("json").stdin("[1,2]"), json));
    }
    for (program, guest, expect) in programs {
        let image = built(bench, program, profile, settings)?;
        expect
            .judge(&guest.boot(&bench.sdk, &image, mark)?)
            .with_context(|| format!("profile {profile}"))?;
    }
    Ok(())
}

pub fn all() -> Vec<Case> {
    let variants: [(&str, Steps); 5] = [
        ("debug", |bench, mark| {
            let image = image::build_with(
                &bench.sdk,
                "tour",
                &BuildOptions { profile: Profile::Debug, quiet: true, ..BuildOptions::default() },
            )?;
            Expect::status(0)
                .out(" 0 failed")
                .judge(&Guest::new("tour").boot(&bench.sdk, &image, mark)?)
        }),
        ("opt-z", |bench, mark| check(bench, mark, "test-z", &["opt-level=\"z\""], false)),
        ("lto-fat", |bench, mark| {
            check(bench, mark, "test-lto", &["lto=\"fat\"", "codegen-units=1"], false)
        }),
        ("lto-thin", |bench, mark| check(bench, mark, "test-thin", &["lto=\"thin\""], false)),
        ("smallest", |bench, mark| {
            let settings = [
                "opt-level=\"z\"",
                "lto=\"fat\"",
                "codegen-units=1",
                "panic=\"abort\"",
                "strip=true",
            ];
            check(bench, mark, "test-small", &settings, true)
        }),
    ];
    variants.map(|(name, steps)| Case::steps(format!("variant/{name}"), steps)).into()
}
