//! Packets, a Port in memory and network namespaces for tests, benches and the demo.

mod memory_port;
pub mod netns;
mod packet;
mod program;
mod valid;

pub use memory_port::MemoryPort;
pub use packet::{PacketBuilder, pkt};
pub use program::program;
pub use valid::checksums_hold;
