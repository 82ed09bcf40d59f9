//! The whole engine in memory: frames in by hand, frames out compared byte by byte, every counter accounted for.

mod adoption;
mod client_address;
mod conduct;
mod docs;
mod fnat;
mod fragments;
mod lab;
mod lifecycle;
mod limits;
mod many_queues;
mod matrix;
mod modes;
mod plain;
mod reasons;
mod reload;
mod rewrites;
mod schedulers;
mod traffic;
mod tunnel;
mod why;
