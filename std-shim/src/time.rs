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

/// Sets the wall clock. Not part of hermit-abi.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_clock_settime(clock: clockid_t, time: *const timespec) -> i32 {
    let set = |time: &timespec| {
        let whole = time.tv_sec.checked_mul(1_000_000_000);
        let rest = i64::from(time.tv_nsec);
        whole
            .and_then(|whole| whole.checked_add(rest))
            .filter(|_| clock == CLOCK_REALTIME && (0..1_000_000_000).contains(&rest))
            .map(time::set_wall)
    };
    // SAFETY: the caller passes a time, or null.
    let time = unsafe { time.as_ref() };
    status(time.and_then(set).ok_or(Error::InvalidArgument))
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
