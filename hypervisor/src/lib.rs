//! The monitor: starts one image on KVM.
//!
//! The way of a run: [`options`] are read, the [`image`] is checked and loaded into the guest's [`memory`],
//! [`boot`] writes what the guest finds there, [`cpu`] sets the processors up, [`machine`] runs them, and
//! each [`exit`] of theirs is answered, most often a hypercall ([`calls`]). [`ends`] is how it is over.

pub mod boot;
pub mod calls;
pub mod check;
pub mod console;
pub mod core_file;
pub mod cpu;
pub mod debugger;
pub mod devices;
pub mod ends;
pub mod exit;
pub mod files;
pub mod gdb;
pub mod image;
pub mod inspect;
pub mod jail;
pub mod machine;
pub mod memory;
pub mod options;
pub mod stats;
