//! Parallel iterators and scopes of rayon.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use check::{Check, Numbers};
use rayon::prelude::*;

const CHECKS: &[Check] = &[
    ("sum of squares", sum_of_squares),
    ("sort like one thread", sort),
    ("join and scope", join_and_scope),
    ("own pool", own_pool),
    ("panic in a job", panic_in_a_job),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}

fn sum_of_squares() -> io::Result<()> {
    let sum: u64 = (0..1_000_000_u64).into_par_iter().map(|n| n * n).sum();
    assert_eq!(sum, 333_332_833_333_500_000);
    let found = (0..100_000_u32).into_par_iter().find_first(|n| n * n > 5_000_000);
    assert_eq!(found, Some(2237));
    Ok(())
}

fn sort() -> io::Result<()> {
    let mut numbers = Numbers::new(7);
    let mut data: Vec<usize> = (0..200_000).map(|_| numbers.below(1 << 40)).collect();
    let mut expected = data.clone();
    expected.sort_unstable();
    data.par_sort();
    assert_eq!(data, expected);
    Ok(())
}

fn fibonacci(n: u64) -> u64 {
    match n {
        0 | 1 => n,
        _ => {
            let (a, b) = rayon::join(|| fibonacci(n - 1), || fibonacci(n - 2));
            a + b
        }
    }
}

fn join_and_scope() -> io::Result<()> {
    assert_eq!(fibonacci(18), 2584);
    let count = AtomicUsize::new(0);
    rayon::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|scope| {
                count.fetch_add(1, Ordering::Relaxed);
                scope.spawn(|_| {
                    count.fetch_add(1, Ordering::Relaxed);
                });
            });
        }
    });
    assert_eq!(count.into_inner(), 200);
    Ok(())
}

fn own_pool() -> io::Result<()> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(4)
        .thread_name(|index| format!("worker {index}"))
        .build()
        .map_err(io::Error::other)?;
    let names = pool.broadcast(|_| std::thread::current().name().map(str::to_owned));
    let expected: Vec<_> = (0..4).map(|index| Some(format!("worker {index}"))).collect();
    assert_eq!(names, expected);
    Ok(())
}

fn panic_in_a_job() -> io::Result<()> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(|| {
        (0..1_000).into_par_iter().for_each(|n| assert_ne!(n, 500));
    });
    std::panic::set_hook(hook);
    assert!(result.is_err());
    assert_eq!((0..10).into_par_iter().sum::<i32>(), 45);
    Ok(())
}
