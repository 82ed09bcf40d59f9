//! Any bytes as what a server answers to a health check.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::check_answers(data));
