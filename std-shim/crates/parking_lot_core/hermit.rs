//! Threads that sleep in the system's futex until they are unparked.

use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

/// A span of time, as the system takes it.
#[repr(C)]
struct Timespec {
    tv_sec: i64,
    tv_nsec: i32,
}

/// The time limit of a wait counts from now.
const FUTEX_RELATIVE_TIMEOUT: u32 = 1;

unsafe extern "C" {
    fn sys_futex_wait(
        address: *const AtomicU32,
        expected: u32,
        timeout: *const Timespec,
        flags: u32,
    ) -> i32;
    fn sys_futex_wake(address: *const AtomicU32, count: i32) -> i32;
}

const UNPARKED: u32 = 0;
const PARKED: u32 = 1;

// Helper type for putting a thread to sleep until some other thread wakes it up
pub struct ThreadParker {
    futex: AtomicU32,
}

impl super::ThreadParkerT for ThreadParker {
    type UnparkHandle = UnparkHandle;

    const IS_CHEAP_TO_CONSTRUCT: bool = true;

    #[inline]
    fn new() -> ThreadParker {
        ThreadParker {
            futex: AtomicU32::new(UNPARKED),
        }
    }

    #[inline]
    unsafe fn prepare_park(&self) {
        self.futex.store(PARKED, Ordering::Relaxed);
    }

    #[inline]
    unsafe fn timed_out(&self) -> bool {
        self.futex.load(Ordering::Relaxed) != UNPARKED
    }

    #[inline]
    unsafe fn park(&self) {
        while self.futex.load(Ordering::Acquire) != UNPARKED {
            // SAFETY: the futex lives as long as this thread waits.
            unsafe { sys_futex_wait(&self.futex, PARKED, ptr::null(), 0) };
        }
    }

    #[inline]
    unsafe fn park_until(&self, timeout: Instant) -> bool {
        while self.futex.load(Ordering::Acquire) != UNPARKED {
            let now = Instant::now();
            if timeout <= now {
                return false;
            }
            let left = timeout - now;
            let left = Timespec {
                tv_sec: left.as_secs().min(i64::MAX as u64) as i64,
                tv_nsec: left.subsec_nanos() as i32,
            };
            // SAFETY: the futex and the time live as long as this thread waits.
            unsafe { sys_futex_wait(&self.futex, PARKED, &left, FUTEX_RELATIVE_TIMEOUT) };
        }
        true
    }

    // Locks the parker to prevent the target thread from exiting. This is
    // necessary to ensure that thread-local ThreadData objects remain valid.
    // This should be called while holding the queue lock.
    #[inline]
    unsafe fn unpark_lock(&self) -> UnparkHandle {
        // There is nothing to lock: the state is cleared, and the address alone is used after that.
        self.futex.store(UNPARKED, Ordering::Release);
        UnparkHandle { futex: &self.futex }
    }
}

pub struct UnparkHandle {
    futex: *const AtomicU32,
}

impl super::UnparkHandleT for UnparkHandle {
    #[inline]
    unsafe fn unpark(self) {
        // SAFETY: the system looks for waiting threads by the address and does not read there: the
        // thread's data may be gone by now.
        unsafe { sys_futex_wake(self.futex, 1) };
    }
}

#[inline]
pub fn thread_yield() {
    thread::yield_now();
}
