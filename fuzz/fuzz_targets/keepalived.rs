//! Any bytes as a keepalived.conf.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::keepalived(data));
