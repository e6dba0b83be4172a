#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    picture_properties::check(bytes, None);
});
