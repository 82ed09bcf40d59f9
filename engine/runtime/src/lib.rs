//! The worker: one turn, seven stages, each over a batch.
