//! The C interface that Rust's standard library calls.
#![no_std]
