//! What `lbrs` is told: its plan, and the configuration file that says one.

pub mod config;
pub mod plan;
