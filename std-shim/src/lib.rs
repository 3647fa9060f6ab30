//! The C ABI between Rust's standard library and the kernel.
//!
//! std for `target_os = "hermit"` calls functions named `sys_*`, declared by the crate `hermit-abi`. They
//! are defined here, each with its documented meaning: this is where raw pointers, C strings and errno
//! numbers end, and the kernel's safe API begins. Functions beyond hermit-abi serve our own changes to
//! std (`std-shim/std/`).
//!
//! A function that fails returns the negated number of the error, and leaves the number where
//! `sys_get_errno` finds it.

#![cfg_attr(target_os = "none", no_std)]
#![cfg(any(target_os = "none", skete_lint_arch))]

extern crate alloc;

mod backtrace;
mod errno;
mod files;
mod memory;
mod network;
mod paths;
mod pointers;
mod start;
mod sync;
mod system;
mod threads;
mod time;
