//! Forwarding modes: which address changes, in which direction.
