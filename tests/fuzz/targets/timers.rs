//! libFuzzer's door to `timers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reveille_fuzz::timers::run(data));
