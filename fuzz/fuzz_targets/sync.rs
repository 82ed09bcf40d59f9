//! Any bytes as a message of another balancer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::sync(data));
