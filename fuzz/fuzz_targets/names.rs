//! The reader of name servers' answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skete_fuzz::names::run(data));
