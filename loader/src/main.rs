//! The loader's binary: everything that touches the machine.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod machine;

/// The loader is for a machine without an operating system.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("skete-loader runs on the bare machine: build it with `cargo xtask setup`");
    std::process::exit(1);
}
