//! Any chain of IPv6 extension headers.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::extension_headers(data));
