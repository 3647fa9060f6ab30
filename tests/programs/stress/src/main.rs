//! Puts threads, locks, time, registers and memory under load, for as long as it is told:
//! `stress CASE SEED SECONDS`. `CASE` is one that `stress list` names, or `all`; `SECONDS` is for each case.
//!
//! One line a case; the first thing that is wrong ends the program with a message and status 1. A case
//! that stands still does too. The seed decides what is done, not how the threads are interleaved.

mod heap;
mod locals;
mod locks;
mod mappings;
mod memory;
mod messages;
mod mix;
mod priorities;
mod processors;
mod registers;
mod run;
mod spawns;
mod timers;
mod watchdog;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use self::run::Run;

/// A case: its name, whether it is one of `all`, what it is about, and what runs it. That gives counts to
/// print, and panics when something is wrong.
struct Case {
    name: &'static str,
    all: bool,
    about: &'static str,
    run: fn(&Run) -> String,
}

/// All cases.
const CASES: &[Case] = &[
    case("processors", "busy threads use every processor, and move", processors::all),
    case("spawns", "trees of threads, joined, detached and unwound; nothing leaks", spawns::storm),
    case("locals", "thread-local values and their destructors", locals::locals),
    case("mutex", "mutual exclusion under contention", locks::mutex),
    case("condvar", "a bounded queue with two condition variables", locks::condvar),
    case("barrier", "no thread is a generation ahead", locks::barrier),
    case("rwlock", "readers see whole writes", locks::rwlock),
    case("once", "one initialization, also after unwound ones", locks::once),
    case("park", "no wake-up is lost", messages::park),
    case("channels", "every message arrives once, in order", messages::channels),
    case("races", "wake-ups against time-outs", messages::races),
    case("mix", "all kinds of waiting at a time", mix::bank),
    case("yields", "threads that only yield share the processors", processors::yields),
    case(
        "registers",
        "general, vector and control registers stay each thread's own",
        registers::registers,
    ),
    case("timers", "sleeps and time-outs under load", timers::timers),
    case("clock", "time never goes back, whoever looks", timers::clock),
    case("heap", "blocks of 1 B to 4 MiB, freed by other threads; memory comes back", heap::heap),
    case("mappings", "memory mapped and unmapped while others use theirs", mappings::mappings),
    case("priorities", "priorities changed while threads wait and work", priorities::priorities),
    extra("many", "10,000 threads of the default stack at once (takes 1 GiB)", spawns::many),
    extra("limit", "a thread too many is an error, and the program goes on", spawns::limit),
    extra("million", "1,000,000 threads, joined and detached; nothing leaks", spawns::million),
    extra("exit", "one thread ends the program while others are busy", processors::exit),
];

const fn case(name: &'static str, about: &'static str, run: fn(&Run) -> String) -> Case {
    Case { name, all: true, about, run }
}

/// A case that runs only when it is named: it takes more time or memory, or does not come back.
const fn extra(name: &'static str, about: &'static str, run: fn(&Run) -> String) -> Case {
    Case { all: false, ..case(name, about, run) }
}

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    if arguments.first().is_some_and(|first| first == "list") {
        for case in CASES {
            let all = if case.all { "" } else { " (not of `all`)" };
            println!("{:<12}{}{all}", case.name, case.about);
        }
        return ExitCode::SUCCESS;
    }
    let Some((chosen, seed, time)) = read(&arguments) else {
        eprintln!(
            "usage: stress CASE SEED SECONDS, with a case that `stress list` names, or `all`"
        );
        return ExitCode::from(2);
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    println!("stress: seed {seed}, {} s a case, {processors} processors", time.as_secs_f64());
    watchdog::start();
    let mut count = 0;
    for case in CASES {
        if case.name == chosen || (case.all && chosen == "all") {
            let start = Instant::now();
            watchdog::begin(case.name, seed);
            let counts = (case.run)(&Run::new(seed, time));
            watchdog::end();
            let seconds = start.elapsed().as_secs_f64();
            println!("ok      {}: {counts} ({seconds:.1} s)", case.name);
            count += 1;
        }
    }
    println!("{count} cases, 0 failed");
    ExitCode::SUCCESS
}

fn read(arguments: &[String]) -> Option<(&str, u64, Duration)> {
    let [chosen, seed, seconds] = arguments else {
        return None;
    };
    let known = chosen == "all" || CASES.iter().any(|case| case.name == chosen);
    let time = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    known.then_some((chosen, seed.parse().ok()?, time))
}
