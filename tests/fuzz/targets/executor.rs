//! libFuzzer's door to `executor`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reveille_fuzz::executor::run(data));
