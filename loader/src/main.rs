//! The loader's binary: everything that touches the machine.

#![cfg_attr(target_os = "none", no_std, no_main)]

// Clippy checks it on the host as well, where nothing calls it: there is no Clippy for the
// compiler that builds it for the bare machine.
#[cfg(any(target_os = "none", clippy))]
#[cfg_attr(clippy, allow(dead_code))]
mod machine;

/// The loader is for a machine without an operating system.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("skete-loader runs on the bare machine: build it with `cargo xtask setup`");
    std::process::exit(1);
}
