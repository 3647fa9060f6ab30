//! Clocks.

use hermit_abi::{CLOCK_MONOTONIC, CLOCK_REALTIME, clockid_t, timespec};
use skete_kernel::{Error, time};

use crate::errno::status;

/// A time in nanoseconds as seconds and a rest.
pub fn split(nanoseconds: i64) -> timespec {
    timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000) as i32,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_clock_gettime(clock: clockid_t, result: *mut timespec) -> i32 {
    let now = match clock {
        _ if result.is_null() => return status(Err(Error::InvalidArgument)),
        CLOCK_MONOTONIC => time::monotonic() as i64,
        CLOCK_REALTIME => time::wall(),
        _ => return status(Err(Error::InvalidArgument)),
    };
    // SAFETY: the caller passes a place for the time.
    unsafe { result.write(split(now)) };
    0
}
