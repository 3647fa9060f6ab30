//! The memory file system against Linux.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skete_fuzz::filesystem::run(data));
