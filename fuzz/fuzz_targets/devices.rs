//! The monitor's virtio devices.
#![no_main]

use std::ffi::{CStr, c_char};

libfuzzer_sys::fuzz_target!(
    init: {
        // As in every program of Rust's: a write to a socket that is closed is an error.
        // SAFETY: no handler is set.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    },
    |data: &[u8]| skete_fuzz::devices::run(data)
);

/// What AddressSanitizer asks for when it starts. A device's thread that ends after a run still holds memory, which
/// would be taken for a leak.
#[unsafe(no_mangle)]
pub extern "C" fn __asan_default_options() -> *const c_char {
    const OPTIONS: &CStr = c"detect_leaks=0";
    OPTIONS.as_ptr()
}
