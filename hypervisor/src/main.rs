//! `skete`: see `skete --help`.

use std::process::ExitCode;

use skete_hypervisor::options::{self, Verb};
use skete_hypervisor::{inspect, machine};

fn main() -> ExitCode {
    let outcome = match options::read(lexopt::Parser::from_env()) {
        Ok(Verb::Run(options)) => machine::run(*options),
        Ok(Verb::Inspect(image)) => inspect::print(&image),
        Ok(Verb::Check) => return check(),
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

/// Says whether this machine can run images.
fn check() -> ExitCode {
    match skete_kvm_probe::probe() {
        Ok(()) => {
            println!("this machine can run images: KVM works");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("this machine cannot run images: {error:#}");
            ExitCode::FAILURE
        }
    }
}
