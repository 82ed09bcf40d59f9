//! Any bytes as one frame.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::parse_classify(data));
