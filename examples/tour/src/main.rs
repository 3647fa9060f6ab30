//! A walk through the standard library: does each thing, looks at the result, prints how it went.
//!
//! Every step ends in one of four ways, and all four are printed and counted: `ok`, `no` (a wrong
//! result or an error), `unsupported` (the platform says that it does not have this), and
//! `not asked for` (standard input, unless `--stdin` is given). The exit status is 1 when a step
//! ended in `no`.

mod report;
mod steps;

use std::process::ExitCode;

use report::Report;

fn main() -> ExitCode {
    let mut read_stdin = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--stdin" => read_stdin = true,
            "-h" | "--help" => {
                println!("Walks the standard library and prints what works\n");
                println!("Usage: tour [--stdin]\n");
                println!("  --stdin  also read standard input to its end");
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!("tour: unknown argument {argument:?}; see tour --help");
                return ExitCode::from(2);
            }
        }
    }
    let mut report = Report::default();
    steps::environment::walk(&mut report);
    steps::stdio::walk(&mut report, read_stdin);
    steps::text::walk(&mut report);
    steps::math::walk(&mut report);
    steps::collections::walk(&mut report);
    steps::memory::walk(&mut report);
    steps::time::walk(&mut report);
    steps::threads::walk(&mut report);
    steps::sync::walk(&mut report);
    steps::files::walk(&mut report);
    steps::net::walk(&mut report);
    steps::process::walk(&mut report);
    steps::panics::walk(&mut report);
    report.print_summary();
    if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
