//! What the kernel itself has to say: lines on the standard error channel, the log, backtraces, and
//! its panics.

#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod backtrace;
pub mod line;
pub mod names;
#[cfg(target_os = "none")]
mod panic;

pub use line::{Level, Line, set_level};
