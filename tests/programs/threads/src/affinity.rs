//! Threads that are bound to a processor.

use std::arch::x86_64::__cpuid;
use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

unsafe extern "C" {
    fn sys_spawn2(
        entry: extern "C" fn(usize),
        argument: usize,
        priority: u8,
        stack: usize,
        processor: isize,
    ) -> u32;
    fn sys_join(id: u32) -> i32;
}

/// The number that the running processor's interrupts are sent to.
fn own() -> u32 {
    __cpuid(1).ebx >> 24
}

/// Where each bound thread was seen.
static SEEN: Mutex<Vec<BTreeSet<u32>>> = Mutex::new(Vec::new());
static RUNNING: AtomicUsize = AtomicUsize::new(0);

extern "C" fn bound(number: usize) {
    for _ in 0..2_000 {
        let processor = own();
        SEEN.lock().expect("no thread panics")[number].insert(processor);
        thread::yield_now();
    }
    RUNNING.fetch_sub(1, SeqCst);
}

fn spawn(number: usize, processor: isize) -> u32 {
    // SAFETY: the thread uses statics only; the kernel takes any number of a processor.
    unsafe { sys_spawn2(bound, number, 2, 1 << 20, processor) }
}

/// Two threads for each processor stay there, beside others that wander; a processor that there is not is
/// refused.
pub fn bind() -> io::Result<()> {
    let count = thread::available_parallelism()?.get();
    *SEEN.lock().expect("no thread panics") = vec![BTreeSet::new(); 2 * count];
    RUNNING.store(2 * count, SeqCst);
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                while RUNNING.load(SeqCst) > 0 {
                    thread::yield_now();
                }
            });
        }
        let threads = (0..2 * count).map(|number| spawn(number, (number % count) as isize));
        for id in threads.collect::<Vec<_>>() {
            assert!(id != 0, "a bound thread was refused");
            // SAFETY: the thread was started above.
            assert_eq!(unsafe { sys_join(id) }, 0);
        }
    });
    let seen = SEEN.lock().expect("no thread panics");
    assert!(seen.iter().all(|places| places.len() == 1), "{seen:?}");
    assert_eq!(seen[..count], seen[count..], "both of a processor");
    let all = seen.iter().flatten().collect::<BTreeSet<_>>();
    assert_eq!(all.len(), count, "each on its own: {seen:?}");
    assert_eq!(spawn(0, count as isize), 0, "there is no such processor");
    Ok(())
}
