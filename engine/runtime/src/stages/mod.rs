//! A packet's way, in the order of [`Worker::turn`](crate::Worker::turn).

pub mod receive;

pub mod parse;

pub mod gather;

pub mod lookup;

pub mod classify;

pub mod schedule;

pub mod rewrite;

pub mod route;

pub mod transmit;

mod options;

mod relay;

pub mod pieces;
