//! Threads.

use core::ffi::c_char;

use hermit_abi::{Tid, timespec};
use skete_kernel::{Error, sched, time};

use crate::errno::{fail, number, status};
use crate::pointers;

/// The stack of a thread that `sys_spawn` starts, as std's own default.
const DEFAULT_STACK: usize = 1 << 20;

/// The processor that a thread is to run on; a negative number leaves that open.
fn processor(core: isize) -> Option<u32> {
    u32::try_from(core).ok()
}

/// Gives 0 when the thread cannot be started; `sys_get_errno` has the reason.
#[unsafe(no_mangle)]
extern "C" fn sys_spawn2(
    entry: extern "C" fn(usize),
    argument: usize,
    priority: u8,
    stack_size: usize,
    core: isize,
) -> Tid {
    sched::spawn(entry, argument, priority, stack_size, processor(core)).unwrap_or_else(|error| {
        fail(number(error));
        0
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_spawn(
    id: *mut Tid,
    entry: extern "C" fn(usize),
    argument: usize,
    priority: u8,
    core: isize,
) -> i32 {
    status(sched::spawn(entry, argument, priority, DEFAULT_STACK, processor(core)).map(|thread| {
        if !id.is_null() {
            // SAFETY: the caller passes a place for the number.
            unsafe { id.write(thread) };
        }
    }))
}

/// Names the calling thread in the kernel's messages. Not part of hermit-abi.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_set_thread_name(name: *const c_char) {
    // SAFETY: the caller passes a C string.
    if let Ok(name) = unsafe { pointers::text(name) } {
        sched::set_name(name);
    }
}

#[unsafe(no_mangle)]
extern "C" fn sys_join(id: Tid) -> i32 {
    status(sched::join(id))
}

#[unsafe(no_mangle)]
extern "C" fn sys_yield() {
    sched::yield_now();
}

#[unsafe(no_mangle)]
extern "C" fn sys_getpid() -> i32 {
    sched::current_id() as i32
}

#[unsafe(no_mangle)]
extern "C" fn sys_get_priority() -> u8 {
    sched::priority()
}

#[unsafe(no_mangle)]
extern "C" fn sys_set_priority(id: Tid, priority: u8) {
    // A call without a result: `sys_get_errno` has the reason.
    status(sched::set_priority(id, priority));
}

#[unsafe(no_mangle)]
extern "C" fn sys_block_current_task() {
    // Without a deadline, parking ends in one way only.
    let _ = sched::park(None);
}

#[unsafe(no_mangle)]
extern "C" fn sys_block_current_task_with_timeout(milliseconds: u64) {
    let timeout = milliseconds.saturating_mul(1_000_000);
    // The caller cannot tell a wake-up from the end of the time.
    let _ = sched::park(Some(time::monotonic().saturating_add(timeout)));
}

/// The name is hermit-abi's, misspelling and all.
#[unsafe(no_mangle)]
extern "C" fn sys_wakeup_taskt(id: Tid) {
    status(sched::unpark(id));
}

#[unsafe(no_mangle)]
extern "C" fn sys_available_parallelism() -> usize {
    sched::processors() as usize
}

#[unsafe(no_mangle)]
extern "C" fn sys_get_processor_count() -> usize {
    sched::processors() as usize
}

#[unsafe(no_mangle)]
extern "C" fn sys_usleep(microseconds: u64) {
    sched::sleep_until(time::monotonic().saturating_add(microseconds.saturating_mul(1000)));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_nanosleep(request: *const timespec) -> i32 {
    // SAFETY: the caller passes a time.
    let duration = unsafe { pointers::duration(request) };
    status(duration.and_then(|duration| {
        let duration = duration.ok_or(Error::InvalidArgument)?;
        sched::sleep_until(time::monotonic().saturating_add(duration));
        Ok(())
    }))
}
