//! The library OS of Skete: what a Rust program needs of an operating system, as a library that is
//! linked into its image.
//!
//! The rooms, from the top: `fd` and `fs`, `net` and `vsock`, `drivers`, `device`, `console` and `random`, `time`,
//! `sched`, `mm`, `arch`. An upper room calls a lower one, never back. The boot path names no subsystem:
//! each comes up at its first use, so that an image holds, and a boot pays for, only what the program
//! reaches.

#![cfg_attr(not(test), no_std)]
// `Arc::try_new`: to run out of memory is an error for files, not the end.
#![cfg_attr(target_os = "none", feature(allocator_api))]

extern crate alloc;
#[cfg(not(any(target_os = "none", skete_lint_arch)))]
extern crate std;

pub mod arch;
pub mod boot;
pub mod console;
pub mod debug;
pub mod device;
pub mod drivers;
pub mod error;
pub mod fd;
pub mod fs;
pub mod mm;
pub mod net;
pub mod random;
pub mod sched;
pub mod sync;
pub mod text;
pub mod time;
pub mod vsock;

pub use error::{Error, Result};
