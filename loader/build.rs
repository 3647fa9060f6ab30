//! Gives the linker the loader's memory layout.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=loader.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let directory = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    for argument in [
        &format!("--script={directory}/loader.ld"),
        // The 32-bit entry holds absolute addresses, which a position-independent link refuses.
        "--no-pie",
        // One segment, no padding to pages: the file is smaller.
        "--nmagic",
        "--gc-sections",
        "--build-id=none",
        "--strip-all",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
