//! `skete`: see `skete --help`.

use std::process::ExitCode;

use skete_hypervisor::options::{self, Verb};
use skete_hypervisor::{check, inspect, machine};

fn main() -> ExitCode {
    let outcome = match options::read(lexopt::Parser::from_env()) {
        Ok(Verb::Run(options)) => machine::run(*options),
        Ok(Verb::Inspect(image)) => inspect::print(&image),
        Ok(Verb::Check) => return check::print(),
        Ok(Verb::Help(text)) => {
            print!("{text}");
            Ok(())
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skete: {error:#}");
            ExitCode::FAILURE
        }
    }
}
