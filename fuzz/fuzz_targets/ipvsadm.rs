//! Any words as a command line of ipvsadm.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::ipvsadm(data));
