//! From the loader's hand-over to the first thread.

pub mod archives;
pub mod command_line;
pub mod device_tree;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub mod image;
pub mod information;
#[cfg(any(target_os = "none", skete_lint_arch))]
mod start;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub use start::{Program, device_tree, program, start};

#[cfg(not(any(target_os = "none", skete_lint_arch)))]
mod hosted;
#[cfg(not(any(target_os = "none", skete_lint_arch)))]
pub use hosted::*;

use crate::sync::Hook;

/// The values of the kernel's options with this name, in their order, for parts that come up later than the
/// command line is looked at. Quotes are left as they are.
pub fn options(name: &str) -> impl Iterator<Item = &'static str> {
    let mut words = command_line::Words::new(&program().line);
    let words = core::iter::from_fn(move || words.next_raw().filter(|word| *word != "--"));
    words.fuse().filter_map(move |word| word.strip_prefix(name)?.strip_prefix('='))
}

/// What is still to be done when the program ends with a status, by a part that came up meanwhile.
#[derive(Debug)]
pub struct AtExit {
    finish: fn(),
    next: Hook<&'static AtExit>,
}

impl AtExit {
    /// Calls `finish` at the end.
    #[must_use]
    pub const fn new(finish: fn()) -> AtExit {
        AtExit { finish, next: Hook::new() }
    }
}

static AT_EXIT: Hook<&'static AtExit> = Hook::new();

/// Adds what is to be done; the last comes first. Each part does so once, as it comes up.
pub fn at_exit(part: &'static AtExit) {
    AT_EXIT.push(part, &part.next);
}

/// Ends the machine with the program's status, after what is to be done before.
pub fn exit(status: i32) -> ! {
    let mut part = AT_EXIT.get();
    while let Some(AtExit { finish, next }) = part {
        finish();
        part = next.get();
    }
    crate::arch::power::end(status)
}

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
