//! What of smol and rustix needs no network: tasks, timers, descriptors that wake a task, files,
//! clocks, terminals.

mod descriptors;
mod files;
mod system;
mod tasks;

use std::process::ExitCode;

use check::Check;

const CHECKS: &[Check] = &[
    ("tasks: spawn and join", tasks::spawn),
    ("tasks: channels", tasks::channels),
    ("tasks: blocking work", tasks::blocking),
    ("tasks: timers", tasks::timers),
    ("tasks: races", tasks::races),
    ("tasks: files", tasks::files),
    ("tasks: a pipe", tasks::pipe),
    ("tasks: a pipe that is full", tasks::full_pipe),
    ("descriptors: read and write", descriptors::read_and_write),
    ("descriptors: flags", descriptors::flags),
    ("descriptors: events", descriptors::events),
    ("descriptors: poll", descriptors::poll),
    ("descriptors: errors", descriptors::errors),
    ("files: open, read, change", files::open),
    ("files: positions", files::positions),
    ("files: names", files::names),
    ("files: directories", files::directories),
    ("files: below a directory", files::below),
    ("files: times and locks", files::times_and_locks),
    ("files: temporary", files::temporary),
    ("system: clocks", system::clocks),
    ("system: the process", system::process),
    ("system: random numbers", system::random),
    ("system: terminals", system::terminals),
    ("system: addresses", system::addresses),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}
