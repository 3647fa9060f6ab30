//! Futexes and semaphores.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use hermit_abi::{FUTEX_RELATIVE_TIMEOUT, sem_t, timespec};
use skete_kernel::sched::futex;
use skete_kernel::{Error, Result, time};

use crate::errno::{status, value};
use crate::pointers;

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_futex_wait(
    address: *mut u32,
    expected: u32,
    timeout: *const timespec,
    flags: u32,
) -> i32 {
    let wait = || {
        if flags & !FUTEX_RELATIVE_TIMEOUT != 0 {
            return Err(Error::InvalidArgument);
        }
        // SAFETY: the caller passes a futex and, if any, a time.
        let (word, timeout) = unsafe { (pointers::word(address)?, pointers::duration(timeout)?) };
        let deadline = match timeout {
            Some(timeout) if flags & FUTEX_RELATIVE_TIMEOUT != 0 => {
                Some(time::monotonic().saturating_add(timeout))
            }
            absolute => absolute,
        };
        futex::wait(word, expected, deadline)
    };
    status(wait())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_futex_wake(address: *mut u32, count: i32) -> i32 {
    // SAFETY: the caller passes a futex.
    let word = unsafe { pointers::word(address) };
    value(word.and_then(|word| {
        let count = match count {
            i32::MAX => usize::MAX,
            count => usize::try_from(count).map_err(|_| Error::InvalidArgument)?,
        };
        Ok(i32::try_from(futex::wake(word, count)).unwrap_or(i32::MAX))
    }))
}

/// What a `sem_t` points to: the count.
unsafe fn semaphore<'a>(semaphore: *mut sem_t) -> Result<&'a AtomicU32> {
    if semaphore.is_null() {
        return Err(Error::InvalidArgument);
    }
    // SAFETY: the caller passes what `sys_sem_init` has written.
    unsafe { (*semaphore).cast::<AtomicU32>().as_ref() }.ok_or(Error::InvalidArgument)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sem_init(place: *mut sem_t, _shared: i32, count: u32) -> i32 {
    if place.is_null() || count > i32::MAX as u32 {
        return status(Err(Error::InvalidArgument));
    }
    // SAFETY: the caller passes a place for a semaphore.
    unsafe { place.write(Box::into_raw(Box::new(AtomicU32::new(count))).cast_const().cast()) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sem_destroy(place: *mut sem_t) -> i32 {
    // SAFETY: the caller passes a semaphore that nobody uses any more.
    status(unsafe {
        semaphore(place).map(|count| {
            drop(Box::from_raw((&raw const *count).cast_mut()));
            place.write(core::ptr::null());
        })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sem_post(place: *mut sem_t) -> i32 {
    // SAFETY: the caller passes a semaphore.
    status(unsafe { semaphore(place) }.map(|count| {
        count.fetch_add(1, SeqCst);
        futex::wake(count, 1);
    }))
}

fn try_take(count: &AtomicU32) -> bool {
    count.fetch_update(SeqCst, SeqCst, |count| count.checked_sub(1)).is_ok()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sem_trywait(place: *mut sem_t) -> i32 {
    // SAFETY: the caller passes a semaphore.
    status(
        unsafe { semaphore(place) }
            .and_then(|count| try_take(count).then_some(()).ok_or(Error::WouldBlock)),
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sys_sem_timedwait(place: *mut sem_t, deadline: *const timespec) -> i32 {
    let wait = || {
        // SAFETY: the caller passes a semaphore and, if any, a time.
        let (count, deadline) = unsafe { (semaphore(place)?, pointers::duration(deadline)?) };
        // POSIX gives the deadline on the wall clock.
        let deadline = deadline.map(|deadline| {
            let left = (deadline as i64).saturating_sub(time::wall()).max(0);
            time::monotonic().saturating_add(left as u64)
        });
        while !try_take(count) {
            match futex::wait(count, 0, deadline) {
                Err(Error::TimedOut) => return Err(Error::TimedOut),
                _ => continue,
            }
        }
        Ok(())
    };
    status(wait())
}

/// The queues of hermit-abi's oldest interface: a word of the kernel's heap for each, by its number.
mod queues {
    use alloc::collections::BTreeMap;
    use alloc::sync::Arc;
    use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use skete_kernel::sync::Mutex;
    use skete_kernel::{Error, Result, sched::futex, time};

    static QUEUES: Mutex<BTreeMap<usize, Arc<AtomicU32>>> = Mutex::new(BTreeMap::new());

    fn queue(id: usize) -> Arc<AtomicU32> {
        QUEUES.lock().entry(id).or_default().clone()
    }

    pub fn create(id: usize) {
        queue(id);
    }

    pub fn destroy(id: usize) -> Result<()> {
        QUEUES.lock().remove(&id).map(drop).ok_or(Error::InvalidArgument)
    }

    pub fn wait(id: usize, timeout: Option<u64>) -> Result<()> {
        let word = queue(id);
        let before = word.load(SeqCst);
        let deadline = timeout.map(|timeout| time::monotonic().saturating_add(timeout));
        match futex::wait(&word, before, deadline) {
            Err(Error::TimedOut) => Err(Error::TimedOut),
            _ => Ok(()),
        }
    }

    pub fn notify(id: usize, count: i32) {
        let word = queue(id);
        word.fetch_add(1, SeqCst);
        // A negative count means all.
        futex::wake(&word, usize::try_from(count).unwrap_or(usize::MAX));
    }
}

#[unsafe(no_mangle)]
extern "C" fn sys_init_queue(id: usize) -> i32 {
    queues::create(id);
    0
}

#[unsafe(no_mangle)]
extern "C" fn sys_destroy_queue(id: usize) -> i32 {
    status(queues::destroy(id))
}

/// Waits for a notification; `timeout` is in nanoseconds, and negative for ever.
#[unsafe(no_mangle)]
extern "C" fn sys_add_queue(id: usize, timeout: i64) -> i32 {
    status(queues::wait(id, u64::try_from(timeout).ok()))
}

#[unsafe(no_mangle)]
extern "C" fn sys_wait(id: usize) -> i32 {
    status(queues::wait(id, None))
}

#[unsafe(no_mangle)]
extern "C" fn sys_notify(id: usize, count: i32) -> i32 {
    queues::notify(id, count);
    0
}
