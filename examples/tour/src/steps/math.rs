//! Integers, floating point, what the processor offers.

use std::hint::black_box;

use crate::report::{Report, fine};
use crate::{ensure, ensure_eq};

/// Whether two numbers agree to fourteen digits.
fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-14 * right.abs().max(1.0)
}

pub fn walk(report: &mut Report) {
    use std::f64::consts::{E, LN_2, PI};

    report.room("numbers");
    report.step("128-bit integers", || {
        let big = black_box(0x1234_5678_9abc_def0_1122_3344_5566_7788_u128);
        let small = black_box(1_000_000_007_u128);
        ensure_eq!(big / small * small + big % small, big);
        ensure_eq!(black_box(i128::MIN).checked_div(-1), None);
        ensure_eq!(black_box(u128::MAX).overflowing_mul(3), (u128::MAX - 2, true));
        fine()
    });
    report.step("checked and wrapping arithmetic", || {
        ensure_eq!(black_box(i32::MAX).checked_add(1), None);
        ensure_eq!(black_box(i32::MAX).wrapping_add(1), i32::MIN);
        ensure_eq!(black_box(200_u8).saturating_add(100), 255);
        fine()
    });
    report.step("roots and powers", || {
        ensure_eq!(black_box(2.0_f64).sqrt(), std::f64::consts::SQRT_2);
        ensure!(close(black_box(27.0_f64).cbrt(), 3.0));
        ensure!(close(black_box(2.0_f64).powf(0.5), 2.0_f64.sqrt()));
        ensure_eq!(black_box(2.0_f64).powi(-3), 0.125);
        ensure_eq!(black_box(1e30_f64).mul_add(1e-30, -1.0).abs() < 1e-15, true);
        fine()
    });
    report.step("logarithms and trigonometry", || {
        ensure!(close(black_box(1.0_f64).exp(), E));
        ensure!(close(black_box(2.0_f64).ln(), LN_2));
        ensure!(close(black_box(PI / 6.0).sin(), 0.5));
        ensure!(close(black_box(PI / 3.0).cos(), 0.5));
        ensure!(close(black_box(1.0_f64).atan2(-1.0), 0.75 * PI));
        ensure!(close(black_box(0.5_f64).tanh(), 0.462_117_157_260_009_76));
        ensure!(close(black_box(1e22_f64).sin(), -0.852_200_849_767_188_8));
        fine()
    });
    report.step("rounding and special values", || {
        ensure_eq!(black_box(2.5_f64).round_ties_even(), 2.0);
        ensure_eq!((black_box(-1.5_f64).floor(), black_box(-1.5_f64).trunc()), (-2.0, -1.0));
        ensure!(black_box(0.0_f64) / 0.0 != 0.0 && (black_box(0.0_f64) / 0.0).is_nan());
        ensure_eq!(black_box(f64::MIN_POSITIVE) / 2.0 > 0.0, true);
        ensure_eq!((black_box(300.7_f64) as u8, black_box(f64::NAN) as i32), (255, 0));
        fine()
    });
    #[cfg(target_arch = "x86_64")]
    report.step("vector instructions", || {
        ensure!(is_x86_feature_detected!("sse2"));
        let numbers = (1..=64).map(f64::from).collect::<Vec<_>>();
        if !is_x86_feature_detected!("avx") {
            ensure_eq!(sum_plain(&numbers), 2080.0);
            return Ok("SSE2, no AVX".to_owned());
        }
        // SAFETY: the processor and the system have just been asked for AVX.
        let sum = unsafe { sum_with_avx(&numbers) };
        ensure_eq!(sum, 2080.0);
        Ok("AVX".to_owned())
    });
}

#[cfg(target_arch = "x86_64")]
fn sum_plain(numbers: &[f64]) -> f64 {
    numbers.iter().sum()
}

/// The sum, four numbers at a time.
///
/// # Safety
///
/// The processor must have AVX and the system must have enabled it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn sum_with_avx(numbers: &[f64]) -> f64 {
    use std::arch::x86_64::{_mm256_add_pd, _mm256_loadu_pd, _mm256_setzero_pd, _mm256_storeu_pd};

    let mut sums = _mm256_setzero_pd();
    let (chunks, rest) = numbers.as_chunks::<4>();
    for chunk in chunks {
        // SAFETY: `chunk` is four numbers long; the load needs no alignment.
        let four = unsafe { _mm256_loadu_pd(chunk.as_ptr()) };
        sums = _mm256_add_pd(sums, four);
    }
    let mut lanes = [0.0; 4];
    // SAFETY: `lanes` is four numbers long; the store needs no alignment.
    unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), sums) };
    lanes.iter().chain(rest).sum()
}
