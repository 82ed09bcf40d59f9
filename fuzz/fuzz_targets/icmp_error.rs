//! Any ICMP error about a packet of any mode.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::icmp_error(data));
