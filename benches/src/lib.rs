//! Scenarios and bench programs.
