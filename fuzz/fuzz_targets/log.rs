#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wasmrun_properties::log(bytes));
