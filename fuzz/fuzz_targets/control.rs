//! Any bytes sent to the control socket, as a request or in one.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::control(data));
