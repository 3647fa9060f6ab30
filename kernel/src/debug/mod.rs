//! What the kernel itself has to say: lines on the standard error channel, the log, and its panics.

pub mod line;
#[cfg(target_os = "none")]
mod panic;

pub use line::{Level, Line, set_level};
