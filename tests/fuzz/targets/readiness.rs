//! libFuzzer's door to `readiness`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reveille_fuzz::readiness::run(data));
