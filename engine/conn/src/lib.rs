//! The connection table of one queue: entries, TCP states, expiry.
