//! `cargo xtask conformance`: Rust's own test suites and those of well-known crates, on Skete.
//!
//! Suites are built by cargo ([`library`], [`corpus`]), their programs run in virtual machines
//! ([`schedule`], [`machine`]), what came of each test is kept ([`record`]), and a complete run
//! writes `docs/conformance.md` ([`document`]).

mod corpus;
mod document;
mod events;
mod exclusions;
mod library;
mod machine;
mod programs;
mod record;
mod schedule;
mod show;
mod tally;
mod turn;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use self::corpus::{Corpus, Entry};
use self::exclusions::Exclusions;
use self::library::Library;
use self::machine::Needs;
use self::record::Outcome;
use self::schedule::{Options, Queue, Results};
use self::show::Show;
use self::tally::Tally;
use self::turn::Turn;
use crate::qemu::Bytes;
use crate::sdk::{self, Sdk};

/// The memory of a machine that runs tests.
const MEMORY: Bytes = Bytes(1 << 30);

/// The name of all crates together.
const CORPUS: &str = "corpus";

/// Runs Rust's own test suites and those of well-known crates in virtual machines
///
/// A suite is `coretests`, `alloctests`, `std`, `corpus` or the name of one of the corpus's crates;
/// without any, all are run, and docs/conformance.md is written. Results are kept: a run that was
/// interrupted goes on where it was, and only images that have changed run again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask conformance                           # everything
  cargo xtask conformance std --filter thread
  cargo xtask conformance regex serde_json --fresh
  cargo xtask conformance --short                   # what `cargo xtask test` runs
  cargo xtask conformance corpus --list")]
pub struct ConformanceArgs {
    /// The suites to run
    #[arg(value_name = "SUITE")]
    suites: Vec<String>,

    /// Run only tests that have this in their names
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// Print the names of the tests and run none
    #[arg(long)]
    list: bool,

    /// Run the short, fixed selection
    #[arg(long, conflicts_with = "suites")]
    short: bool,

    /// How many machines run beside each other; when absent, one for each processor
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,

    /// How long one test may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,

    /// Forget earlier results
    #[arg(long)]
    fresh: bool,

    /// Take the newest versions of everything that the corpus depends on, and keep them in
    /// conformance/corpus.lock
    #[arg(long)]
    resolve: bool,
}

/// What is to be run.
struct Plan {
    /// Suites of the standard library.
    library: Vec<&'static str>,
    /// Crates of the corpus.
    crates: Vec<Entry>,
    /// Whether that is everything.
    whole: bool,
    /// Whether it is the short selection, which leaves out what takes long to compile.
    short: bool,
}

impl Plan {
    fn new(args: &ConformanceArgs, corpus: &Corpus) -> Result<Plan> {
        let known = |suite: &str| {
            suite == CORPUS
                || library::SUITES.contains(&suite)
                || corpus.crates().iter().any(|entry| entry.name == suite)
        };
        if let Some(unknown) = args.suites.iter().find(|suite| !known(suite)) {
            let crates = corpus.crates().iter().map(|entry| entry.name.as_str());
            bail!(
                "no suite is called `{unknown}`; there are: {}, {CORPUS}, and of the corpus: {}",
                library::SUITES.join(", "),
                crates.collect::<Vec<_>>().join(", ")
            );
        }
        let all = args.suites.is_empty() && !args.short;
        let named = |suite: &str| args.suites.iter().any(|wanted| wanted == suite);
        let crates = corpus.crates().iter().filter(|entry| {
            all || args.short && entry.short || named(CORPUS) || named(&entry.name)
        });
        let library = library::SUITES.into_iter();
        Ok(Plan {
            library: library
                .filter(|suite| all || named(suite) || args.short && *suite == library::SHORT)
                .collect(),
            short: args.short,
            crates: crates.cloned().collect(),
            whole: all && args.filter.is_none(),
        })
    }
}

/// Runs `cargo xtask conformance`.
pub fn run(args: ConformanceArgs) -> Result<()> {
    let start = Instant::now();
    let corpus = Corpus::read()?;
    let exclusions = Exclusions::read()?;
    let plan = Plan::new(&args, &corpus)?;
    let _turn = Turn::take()?;
    let sdk = sdk::ensure()?;
    let jobs = match args.jobs {
        Some(jobs) => usize::from(jobs),
        None => thread::available_parallelism().map_or(1, usize::from),
    };
    let options = Options {
        filter: args.filter.clone(),
        limit: Duration::from_secs(args.timeout),
        fresh: args.fresh,
        list: args.list,
        jobs,
    };
    let show = Show::new();
    let mut broken = Vec::new();
    let results = Queue::new(&sdk, &options, &exclusions, &show).run(|queue| {
        let mut report = |line: String| {
            show.say(&format!("FAILED  {line}"));
            broken.push(line);
        };
        build(&sdk, &plan, &corpus, args.resolve, queue, &show, &mut report)
    });
    show.finish();
    let mut results = results?;
    if args.list {
        return list(&results, &broken);
    }
    let place = |results: &Results| {
        let library = library::SUITES.iter().position(|&suite| suite == results.suite);
        let entry = |entry: &Entry| entry.name == results.suite;
        let corpus = corpus.crates().iter().position(entry);
        (library.unwrap_or(usize::MAX), corpus, results.program.clone())
    };
    results.sort_by_key(place);
    let complaints = judge(&results, &exclusions, &plan);
    let mut total = Tally::default();
    for result in &results {
        total += Tally::of(result, &exclusions);
    }
    for line in &complaints {
        eprintln!("error: {line}");
    }
    eprintln!("skete: conformance took {}", schedule::elapsed(start));
    if plan.whole && broken.is_empty() && total.left == 0 {
        document::write(&sdk, &results, &exclusions, &corpus)?;
        eprintln!("skete: wrote {}", document::FILE);
    }
    println!("{total}");
    match total.failed + complaints.len() + broken.len() {
        0 => Ok(()),
        _ => bail!(
            "{} tests failed, {} exclusions are wrong, {} suites cannot be run",
            total.failed,
            complaints.len(),
            broken.len()
        ),
    }
}

/// Builds the suites and hands their programs to the machines; tells `broken` what does not build.
fn build(
    sdk: &Sdk,
    plan: &Plan,
    corpus: &Corpus,
    resolve: bool,
    queue: &Queue,
    show: &Show,
    broken: &mut dyn FnMut(String),
) -> Result<()> {
    if !plan.library.is_empty() {
        let library = Library::prepare(sdk, show)?;
        for suite in &plan.library {
            match library.build(sdk, suite, plan.short, show) {
                Ok(programs) => {
                    for program in programs {
                        let needs = Needs { memory: MEMORY, files: None, card: false };
                        queue.add(suite, program, needs);
                    }
                }
                Err(error) => broken(format!("{suite} does not build: {error:#}")),
            }
        }
    }
    if plan.crates.is_empty() {
        return Ok(());
    }
    let workspace = corpus.prepare(sdk, resolve, show)?;
    for entry in &plan.crates {
        match workspace.build(sdk, entry, show) {
            Ok(programs) => {
                for program in programs {
                    queue.add(&entry.name, program, workspace.needs(entry, MEMORY));
                }
            }
            Err(error) => broken(format!("{} does not build: {error:#}", entry.name)),
        }
    }
    Ok(())
}

/// Prints the names of all tests.
fn list(results: &[Results], broken: &[String]) -> Result<()> {
    for result in results {
        for (test, _) in &result.tests {
            println!("{} {test}", result.name());
        }
    }
    match broken {
        [] => Ok(()),
        broken => bail!("{}", broken.join("\n")),
    }
}

/// What is wrong with the exclusions, as far as this run can tell.
fn judge(results: &[Results], exclusions: &Exclusions, plan: &Plan) -> Vec<String> {
    let mut complaints = Vec::new();
    for result in results {
        let tests = result.tests.iter();
        let tests = tests.map(|(test, verdict)| {
            let outcome: Option<Outcome> = verdict.as_ref().map(|verdict| verdict.outcome);
            (test.as_str(), outcome)
        });
        complaints.extend(exclusions.complaints(&result.name(), &tests.collect::<Vec<_>>()));
    }
    if plan.whole {
        let known = results.iter().map(Results::name).collect::<BTreeSet<_>>();
        let unknown = exclusions.programs().into_iter();
        let unknown = unknown.filter(|&program| !known.contains(program));
        complaints.extend(
            unknown.map(|program| {
                format!("{} names {program}, which does not exist", exclusions::FILE)
            }),
        );
    }
    complaints
}
