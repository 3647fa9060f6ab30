//! Lists the files that it was started with, and changes some.
//!
//! `root list DIR` prints one line for everything in a directory: kind, permission bits, time, length, a
//! hash of the content, name. `root change DIR` writes, appends, truncates, renames and removes there.

mod change;
mod list;

use std::io;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list", directory] => list::all(Path::new(directory), &mut io::stdout().lock()),
        ["change", directory] => change::all(Path::new(directory)),
        _ => {
            eprintln!("usage: root list|change DIR");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
