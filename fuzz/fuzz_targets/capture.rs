//! Any bytes as a capture.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::capture(data));
