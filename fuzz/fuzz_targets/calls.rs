//! The monitor's handlers of hypercalls.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skete_fuzz::calls::run(data));
