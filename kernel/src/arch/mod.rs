//! The arch facade: one machine, one set of names.
//!
//! Everything above this room is written against the names that each of these modules exports. The
//! `hosted` module stands in for a machine when the kernel's logic runs under `cargo test`.

#[cfg(any(target_os = "none", skete_lint_arch))]
mod x86_64;
#[cfg(any(target_os = "none", skete_lint_arch))]
pub use x86_64::*;

#[cfg(not(any(target_os = "none", skete_lint_arch)))]
mod hosted;
#[cfg(not(any(target_os = "none", skete_lint_arch)))]
pub use hosted::*;

#[cfg(all(target_os = "none", not(target_arch = "x86_64")))]
compile_error!("the kernel has no arch room for this machine yet: x86_64 is the one there is");
