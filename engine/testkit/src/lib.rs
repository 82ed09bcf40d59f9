//! Packets, a Port in memory and network namespaces for tests, benches and the demo.

pub mod netns;
