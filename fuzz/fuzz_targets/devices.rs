//! The monitor's virtio devices.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skete_fuzz::devices::run(data));
