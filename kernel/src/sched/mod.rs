//! Threads: which one runs, who waits for what, and for how long.

pub mod links;
pub mod run_queue;
pub mod timers;
pub mod wait_table;

#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod futex;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod scheduler;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod tls;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub use scheduler::*;

#[cfg(not(any(target_os = "none", skete_lint_arch)))]
mod hosted;
#[cfg(not(any(target_os = "none", skete_lint_arch)))]
pub use hosted::*;

/// The number of a thread: never 0, and not used again before four thousand million others.
pub type ThreadId = u32;
