//! Checks threads, locks, time-outs and preemption.

mod affinity;
mod locks;
mod preemption;
mod registers;
mod timeouts;

use std::process::ExitCode;

fn main() -> ExitCode {
    check::walk(
        &[
            ("a mutex excludes", locks::mutex),
            ("a contended mutex starves nobody", locks::fairness),
            ("readers and writers", locks::readers_and_writers),
            ("condition variables wake all and one", locks::condvar),
            ("a barrier, many rounds", locks::barrier),
            ("one initialization among many threads", locks::once),
            ("a ring of channels", locks::ring),
            ("an unpark before the park counts", locks::early_unpark),
            ("busy threads share the processor", preemption::shares),
            ("a sleeper wakes beside busy threads", preemption::sleeper),
            ("thread locals are each thread's own", preemption::locals),
            ("1,000 threads, one after the other", preemption::cycles),
            ("200 threads at a time", preemption::many),
            ("threads stay on the processor they are bound to", affinity::bind),
            ("SSE registers survive preemption", registers::sse),
            ("AVX registers survive preemption", registers::avx),
            ("rounding mode and x87 state are each thread's own", registers::control),
            ("condition variable times out", timeouts::condvar),
            ("channel times out", timeouts::channel),
            ("park times out", timeouts::park),
            ("sleepers wake in order", timeouts::order),
            ("a wake-up beats the time-out", timeouts::woken),
        ],
        std::env::args().nth(1).as_deref(),
    )
}
