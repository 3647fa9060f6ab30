//! A measurement with criterion, shortened so that a test can wait for it.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use check::Numbers;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};

fn main() -> ExitCode {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .without_plots()
        .configure_from_args();
    let mut group = criterion.benchmark_group("sort");
    for size in [100, 1_000] {
        let mut numbers = Numbers::new(1);
        let data: Vec<usize> = (0..size).map(|_| numbers.below(1 << 20)).collect();
        group.throughput(Throughput::Elements(size));
        group.bench_with_input(BenchmarkId::from_parameter(size), &data, |bencher, data| {
            bencher.iter_batched(
                || data.clone(),
                |mut data| {
                    data.sort_unstable();
                    data
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    criterion
        .bench_function("sum", |bencher| bencher.iter(|| (0..black_box(1_000_u64)).sum::<u64>()));
    criterion.final_summary();
    println!("measured");
    ExitCode::SUCCESS
}
