//! The monitor: starts one image on KVM.
//!
//! The way of a run: [`options`] are read, the [`image`] is checked and loaded into the guest's [`memory`],
//! [`boot`] writes what the guest finds there, [`cpu`] sets the processors up, [`machine`] runs them, and
//! each [`exit`] of theirs is answered, most often a hypercall ([`calls`]). [`ends`] is how it is over.

/// Says a line to the user. Where nobody reads it any more, the run goes on.
macro_rules! say {
    ($($text:tt)+) => {
        _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($text)+)))
    };
}

mod boot;
pub mod calls;
pub mod console;
mod core_file;
mod cpu;
mod debugger;
pub mod devices;
mod ends;
mod exit;
pub mod files;
mod gdb;
mod image;
pub mod inspect;
mod jail;
pub mod machine;
pub mod memory;
pub mod options;
mod paging;
mod stats;
mod symbols;
