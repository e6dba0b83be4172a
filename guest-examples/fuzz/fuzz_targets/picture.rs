#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| _ = picture_properties::check(bytes, None));
