//! Any bytes as the configuration file of `lbrs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::lbrs_config(data));
