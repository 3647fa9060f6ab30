//! Counts the primes below a bound with a segmented sieve of Eratosthenes, shared out to threads.

mod primes;

use std::num::NonZero;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser;

/// Counts the primes below a bound with several threads
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Count the primes below this number
    #[arg(default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(..=1_000_000_000_000))]
    bound: u64,
    /// Number of threads; when absent, one for each CPU
    #[arg(short, long)]
    threads: Option<NonZero<u16>>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let threads = match arguments.threads {
        Some(threads) => usize::from(threads.get()),
        None => thread::available_parallelism().map_or(1, NonZero::get),
    };
    let bound = arguments.bound;
    let start = Instant::now();
    let count = match primes::count_below(bound, threads) {
        Ok(count) => count,
        Err(error) => {
            eprintln!("sieve: cannot start {threads} threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let elapsed = start.elapsed();
    println!("{count} primes below {bound}");
    println!("{threads} threads, {:.3} ms", elapsed.as_secs_f64() * 1000.0);
    match primes::known(bound) {
        Some(known) if known != count => {
            eprintln!("sieve: there are {known} primes below {bound}, but {count} were counted");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
