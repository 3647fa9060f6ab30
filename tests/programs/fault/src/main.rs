//! Does one forbidden thing, named by its argument. Nearly every one of them must end the program.

mod doings;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let argument = arguments.next();
    let Some((_, _, doing)) = doings::ALL.iter().find(|(known, ..)| *known == name) else {
        eprintln!("usage: fault DOING [NUMBER]");
        for (name, about, _) in doings::ALL {
            eprintln!("  {name:<26} {about}");
        }
        return ExitCode::from(2);
    };
    let number = match argument.map(|text| text.parse::<i64>()) {
        None => 0,
        Some(Ok(number)) => number,
        Some(Err(error)) => {
            eprintln!("fault: the second argument is not a number: {error}");
            return ExitCode::from(2);
        }
    };
    doing(number)
}
