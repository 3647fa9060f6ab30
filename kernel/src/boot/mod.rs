//! From the loader's hand-over to the first thread.

pub mod archives;
pub mod command_line;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod image;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod start;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub use start::{Program, program, start};

#[cfg(not(any(target_os = "none", skete_lint_arch)))]
mod hosted;
#[cfg(not(any(target_os = "none", skete_lint_arch)))]
pub use hosted::*;

/// Exit statuses that the kernel itself gives (docs/boot-protocol.md).
pub mod status {
    /// The image cannot be started like this: a wrong option, too little memory.
    pub const REFUSED: i32 = 1;
    /// A bug in the kernel (`EX_SOFTWARE` of sysexits).
    pub const KERNEL_BUG: i32 = 70;
    /// Every thread waits for another.
    pub const DEADLOCK: i32 = 71;
    /// The archive of the initial file tree cannot be used (`EX_OSFILE` of sysexits).
    pub const ROOT: i32 = 72;
    /// `abort()`: 128 + SIGABRT.
    pub const ABORT: i32 = 134;
    /// A fault: 128 + SIGSEGV.
    pub const FAULT: i32 = 139;
}
