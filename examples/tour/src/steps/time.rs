//! Clocks and sleep.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::report::{Report, failed, fine};
use crate::{ensure, ensure_eq};

pub fn walk(report: &mut Report) {
    report.room("time");
    report.step("monotonic clock", || {
        let start = Instant::now();
        let mut last = start;
        for _ in 0..10_000 {
            let now = Instant::now();
            ensure!(now >= last);
            last = now;
        }
        ensure!(last > start);
        fine()
    });
    report.step("wall clock", || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(failed)?;
        // 2024-01-01 and 2100-01-01.
        ensure!((1_704_067_200..4_102_444_800).contains(&now.as_secs()));
        Ok(format!("{} s", now.as_secs()))
    });
    report.step("sleep", || {
        let wanted = Duration::from_millis(30);
        let start = Instant::now();
        thread::sleep(wanted);
        let slept = start.elapsed();
        ensure!(slept >= wanted);
        ensure!(slept < wanted + Duration::from_secs(2));
        fine()
    });
    report.step("both clocks agree", || {
        let (start, start_wall) = (Instant::now(), SystemTime::now());
        thread::sleep(Duration::from_millis(50));
        let wall = start_wall.elapsed().map_err(failed)?;
        ensure!(wall.abs_diff(start.elapsed()) < Duration::from_millis(20));
        fine()
    });
    report.step("calculate with times", || {
        let now = Instant::now();
        ensure_eq!(now + Duration::from_secs(5) - now, Duration::from_secs(5));
        ensure_eq!(now.checked_add(Duration::MAX), None);
        ensure_eq!(now.duration_since(now + Duration::from_secs(1)), Duration::ZERO);
        ensure_eq!(format!("{:?}", Duration::from_micros(1_500)), "1.5ms");
        fine()
    });
}
