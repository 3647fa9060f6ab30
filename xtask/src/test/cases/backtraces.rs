//! Stacks, as panics, programs and the kernel show them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::super::case::{Bench, Case, Guest, Steps};
use super::super::expect::Expect;
use crate::image::{self, BuildOptions, Profile, Strip};

const PROGRAM: &str = "backtrace";
const SOURCE: &str = include_str!("../../../../tests/programs/backtrace/src/main.rs");

/// How a stack names the line of the program that holds `code`.
fn at(code: &str) -> String {
    let before = SOURCE.lines().take_while(|line| !line.contains(code));
    format!("             at ./backtrace/src/main.rs:{}:", before.count() + 1)
}

/// The program without optimisation and with all debug information.
fn debug(bench: &Bench) -> Result<PathBuf> {
    let options = BuildOptions { profile: Profile::Debug, quiet: true, ..BuildOptions::default() };
    image::build_with(&bench.sdk, PROGRAM, &options)
}

fn guest(args: &[&str], backtrace: &str) -> Guest {
    let mut guest = Guest::new(PROGRAM).args(args);
    guest.env.push(("RUST_BACKTRACE".to_owned(), backtrace.to_owned()));
    guest
}

/// A panic whose stack consists of the program's functions by their names.
fn named() -> Expect {
    Expect::status(101)
        .err("shown with its stack\nstack backtrace:\n   0: ")
        .err(": core::panicking::panic_fmt\n")
        .err(": backtrace::generic\n")
        .err(": backtrace::outer\n")
        .err(": backtrace::main\n")
        .err("note: Some details are omitted, run with `RUST_BACKTRACE=full`")
        // What lies outside of the program's own calls.
        .err_not("run_main")
        .err_not("<unknown>")
}

fn panics(bench: &Bench, image: &Path, mark: &str, expect: Expect) -> Result<()> {
    expect.judge(&guest(&["panic"], "1").boot(&bench.sdk, image, mark)?)
}

pub fn all() -> Vec<Case> {
    let steps: [(&str, Steps); 11] = [
        ("names", |bench, mark| {
            // Cargo leaves debug information out of a release.
            let without_lines = named().err_not("             at ");
            panics(bench, bench.image(PROGRAM)?, mark, without_lines)
        }),
        ("names-in-a-stripped-image", |bench, mark| {
            let image = image::strip(bench.image(PROGRAM)?, Strip::Symbols)?;
            panics(bench, &image, mark, named())
        }),
        ("addresses-without-names", |bench, mark| {
            let image = image::strip(bench.image(PROGRAM)?, Strip::All)?;
            let addresses =
                Expect::status(101).err("0x").err(" - <unknown>\n").err_not("backtrace::");
            addresses.judge(&guest(&["panic"], "full").boot(&bench.sdk, &image, mark)?)
        }),
        ("lines", |bench, mark| {
            let lines = Expect::status(101)
                .err(&format!(": backtrace::generic::<u8>\n{}", at("panic!(")))
                .err(&format!(": backtrace::inlined\n{}", at("generic::<u8>(doing)")))
                .err(&format!(": backtrace::outer\n{}", at("inlined(doing);")))
                .err(&format!(": backtrace::outer\n{}", at("depth - 1")))
                .err("             at /rustc/")
                .err_not("run_main");
            panics(bench, &debug(bench)?, mark, lines)
        }),
        ("full", |bench, mark| {
            let full = Expect::status(101)
                .err("   0: 0x")
                .err(" - backtrace::main\n")
                .err(" - runtime_entry\n")
                .err(" - skete_std_shim::start::run_main\n")
                .err_not("note: Some details");
            full.judge(&guest(&["panic"], "full").run(bench, mark)?)
        }),
        ("off", |bench, mark| {
            let off = Expect::status(101)
                .err("shown with its stack\nnote: run with `RUST_BACKTRACE=1`")
                .err_not("stack backtrace:");
            off.judge(&guest(&["panic"], "0").run(bench, mark)?)
        }),
        ("capture", |bench, mark| {
            let captured = Expect::status(0)
                .out(&format!(": backtrace::generic::<u8>\n{}", at("force_capture")))
                .out(&format!(": backtrace::main\n{}", at("outer(&doing, 2)")))
                .out("             at /rustc/");
            captured.judge(&guest(&["capture"], "0").boot(&bench.sdk, &debug(bench)?, mark)?)?;
            let status = Expect::status(0).stdout("Disabled\n");
            status.judge(&guest(&["status"], "0").run(bench, mark)?)?;
            let status = Expect::status(0).stdout("Captured\n");
            status.judge(&guest(&["status"], "1").run(bench, mark)?)
        }),
        ("thread", |bench, mark| {
            let thread = Expect::status(0)
                .err("thread 'unlucky' ")
                .err(": backtrace::outer\n")
                .stdout("joined: true\n");
            thread.judge(&guest(&["thread"], "1").run(bench, mark)?)
        }),
        ("caught", |bench, mark| {
            let caught = Expect::status(0).err(": backtrace::generic\n").stdout("caught: true\n");
            caught.judge(&guest(&["caught"], "1").run(bench, mark)?)
        }),
        ("kernel", |bench, mark| {
            let fault = Expect::status(139)
                .err("skete: null pointer: write to 0x10 at 0x")
                .err("stack backtrace:\n   0: 0x")
                .err(" - sys_clock_gettime\n")
                .err(" - backtrace::generic\n")
                .err(" - backtrace::main\n");
            fault.judge(&guest(&["kernel"], "0").run(bench, mark)?)?;
            let lines = Expect::status(139)
                .err(" - sys_clock_gettime\n             at skete/std-shim/src/time.rs:")
                .err(&format!(" - backtrace::generic::<u8>\n{}", at("sys_clock_gettime(1")));
            lines.judge(&guest(&["kernel"], "0").boot(&bench.sdk, &debug(bench)?, mark)?)
        }),
        ("recursion", |bench, mark| {
            let fault = Expect::status(139)
                .err("skete: stack overflow")
                .err(" - backtrace::recurse\n")
                .err(" more ...]\n");
            fault.judge(&guest(&["recursion"], "0").run(bench, mark)?)
        }),
    ];
    steps.map(|(name, steps)| Case::steps(format!("backtrace/{name}"), steps)).into()
}
