//! The loader's decisions, apart from the hardware.
//!
//! Everything here takes bytes and ranges and gives values back: which image is acceptable
//! ([`image`]), where it may lie in physical memory ([`memory`], [`placement`]), what the command
//! line says to the loader itself ([`options`]), how page table entries look ([`paging`]), what is in a
//! compressed image ([`gzip`], [`config`], [`toml`], [`command_line`]). It runs
//! under `cargo test` on the host; the binary adds the 32-bit entry, ports and the jump.
//!
//! The interface to the runner and the kernel is `docs/boot-protocol.md`.

#![no_std]

pub mod command_line;
pub mod config;
pub mod elf;
pub mod gzip;
pub mod image;
pub mod memory;
pub mod multiboot;
pub mod options;
pub mod paging;
pub mod placement;
pub mod problem;
pub mod relocation;
pub mod toml;
