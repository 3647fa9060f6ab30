//! The reader of tar archives, and the tree that the kernel makes from one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skete_fuzz::archive::run(data));
