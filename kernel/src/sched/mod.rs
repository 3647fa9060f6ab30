//! Threads: which one runs where, who waits for what, and for how long.
//!
//! A thread that has nothing to do costs nothing: there is no tick. A processor's timer is armed for the
//! next deadline, and for the end of a time slice only while two threads want to run there.
//!
//! | lock | guards | may be taken while holding |
//! | --- | --- | --- |
//! | [`registry`] | which threads there are | – |
//! | a bucket of [`wait`] | who waits for what | the registry |
//! | the queue of a [`processor`] | what is ready there, its timers | a bucket, the registry |
//!
//! A task that waits is woken by the one who claims it: whoever finds it in a bucket, or its deadline
//! come. A task that is ready is run by the one who takes it out of a queue; where it goes on is known
//! once its last processor has left its stack, which may be later.

pub mod list;
pub mod run_queue;
pub mod timers;
pub mod wait_table;

#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod futex;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod idle;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod others;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod processor;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod registry;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod task;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod threads;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod tls;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod wait;

#[cfg(any(target_os = "none", skete_lint_arch))]
pub use others::processors;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub use processor::idle_cycles;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub use threads::{
    current_id, describe_current, exit_thread, init, interrupted, join, park, preempt, priority,
    set_name, set_priority, spawn, start, unpark,
};
#[cfg(any(target_os = "none", skete_lint_arch))]
pub use wait::{
    hold, release, sleep_until, timer_interrupt, wait_for_device, wake_from_interrupt, yield_now,
};

#[cfg(not(any(target_os = "none", skete_lint_arch)))]
mod hosted;
#[cfg(not(any(target_os = "none", skete_lint_arch)))]
pub use hosted::*;

/// The number of a thread: never 0, and not used again before four thousand million others.
pub type ThreadId = u32;

/// The priority that a thread has when nobody says otherwise.
pub const NORMAL_PRIORITY: u8 = 2;
