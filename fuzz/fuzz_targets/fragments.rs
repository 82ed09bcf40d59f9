//! Any fragments of packets of any mode.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::fragments(data));
