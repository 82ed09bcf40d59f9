//! What to open, and how large.

use lb_model::{BATCH, Interface};

use crate::XskError;
use crate::queue::fill_size;

/// The interfaces and sizes of an engine's AF_XDP sockets. The defaults suit everything but the interface names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XskConfig {
    /// The interfaces; their positions are their [`InterfaceId`](lb_model::InterfaceId)s.
    pub interfaces: Vec<String>,
    /// How many workers share the queues; `None`: as many as the interface with the fewest has queues.
    pub workers: Option<u32>,
    /// Bytes of a chunk, 2048 or 4096; a packet may have 256 fewer, the headroom of XDP programs.
    pub frame_size: u32,
    /// Entries of each socket's RX, TX and completion rings, a power of two; the fill ring has twice as many.
    pub ring_size: u32,
    /// Chunks that a worker owns for each of its sockets.
    pub frames_per_queue: u32,
    /// Whether to ask the drivers for zero-copy before settling for copies.
    pub zero_copy: bool,
    /// Whether ports look for packets all the time rather than sleep until there are some.
    pub busy_poll: bool,
    /// The name of the tap device through which packets go back to the kernel, `%d` standing for the first free
    /// number; `None`: there is no way back.
    pub tap: Option<String>,
}

/// 2048 packets are more than a millisecond at the rate a worker reaches in copy mode: it may be kept from its CPU that
/// long without a loss. A larger ring only adds delay.
const RING_SIZE: u32 = 2048;

/// What the kernel keeps free in front of every received packet (`XDP_PACKET_HEADROOM`).
const XDP_HEADROOM: u32 = 256;

/// An Ethernet header with a VLAN tag.
const ETHERNET_HEADER: u32 = 18;

impl Default for XskConfig {
    fn default() -> XskConfig {
        XskConfig {
            interfaces: Vec::new(),
            workers: None,
            frame_size: 2048,
            ring_size: RING_SIZE,
            // A full fill ring, and a full ring of packets to send.
            frames_per_queue: 3 * RING_SIZE,
            zero_copy: true,
            busy_poll: false,
            tap: Some("lbd%d".to_owned()),
        }
    }
}

impl XskConfig {
    /// The largest MTU whose packets fit a chunk.
    pub fn largest_mtu(&self) -> u32 {
        self.frame_size - XDP_HEADROOM - ETHERNET_HEADER
    }

    /// Bytes of packet memory for so many queues, those of all interfaces together.
    pub fn packet_memory(&self, queues: u32) -> u64 {
        /// Mappings of huge pages are whole multiples of this.
        const HUGE_PAGE: u64 = 2 << 20;
        let chunks = u64::from(queues) * u64::from(self.frames_per_queue);
        (chunks * u64::from(self.frame_size)).next_multiple_of(HUGE_PAGE)
    }

    pub(crate) fn check(&self) -> Result<(), XskError> {
        let refuse = |field, value: String, allowed| {
            Err(XskError::Config {
                field,
                value,
                allowed,
            })
        };
        let batch = BATCH as u32;
        if self.interfaces.is_empty() {
            return refuse("interfaces", "[]".to_owned(), "one or more");
        }
        if let Some((_, twice)) = (self.interfaces.iter().enumerate())
            .find(|(at, name)| self.interfaces[..*at].contains(name))
        {
            return refuse("interfaces", twice.clone(), "each once");
        }
        if ![2048, 4096].contains(&self.frame_size) {
            return refuse("frame_size", self.frame_size.to_string(), "2048, 4096");
        }
        if !self.ring_size.is_power_of_two() || !(batch..=16384).contains(&self.ring_size) {
            let allowed = "a power of two in 64..=16384";
            return refuse("ring_size", self.ring_size.to_string(), allowed);
        }
        if !(fill_size(self.ring_size) + batch..=1 << 20).contains(&self.frames_per_queue) {
            let allowed = "at least 2 * ring_size + 64, at most 1048576";
            return refuse(
                "frames_per_queue",
                self.frames_per_queue.to_string(),
                allowed,
            );
        }
        Ok(())
    }

    /// How many bytes a chunk has left in front of the interface's largest packets.
    pub(crate) fn room(&self, interface: &Interface) -> u8 {
        let largest = self.frame_size - XDP_HEADROOM - ETHERNET_HEADER;
        let left = largest.saturating_sub(interface.mtu);
        u8::try_from(left).unwrap_or(u8::MAX)
    }

    pub(crate) fn check_mtu(&self, interface: &Interface) -> Result<(), XskError> {
        let largest = self.largest_mtu();
        if interface.mtu <= largest {
            return Ok(());
        }
        Err(XskError::Mtu {
            interface: interface.name.clone(),
            mtu: interface.mtu,
            frame_size: self.frame_size,
            largest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut XskConfig)) -> Result<(), String> {
        let mut config = XskConfig {
            interfaces: vec!["eth0".to_owned(), "eth1".to_owned()],
            ..XskConfig::default()
        };
        change(&mut config);
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_need_only_interfaces() {
        assert_eq!(config(|_| ()), Ok(()));
        assert_eq!(
            config(|c| c.interfaces.clear()),
            Err("interfaces: [], allowed: one or more".to_owned())
        );
    }

    #[test]
    fn refusals_name_field_value_and_what_is_allowed() {
        assert_eq!(
            config(|c| c.ring_size = 1000),
            Err("ring_size: 1000, allowed: a power of two in 64..=16384".to_owned())
        );
        assert_eq!(
            config(|c| c.interfaces.push("eth0".to_owned())),
            Err("interfaces: eth0, allowed: each once".to_owned())
        );
        assert!(config(|c| c.frame_size = 8192).is_err());
        assert!(config(|c| c.frames_per_queue = 2 * c.ring_size).is_err());
    }

    #[test]
    fn packets_of_the_interface_fit_a_chunk() {
        let interface = |mtu| Interface {
            name: "eth0".to_owned(),
            mac: lb_model::Mac::default(),
            mtu,
            addresses: Vec::new(),
        };
        let config = XskConfig::default();
        assert!(config.check_mtu(&interface(1500)).is_ok());
        assert!(config.check_mtu(&interface(1774)).is_ok());
        assert!(config.check_mtu(&interface(1775)).is_err());
    }
}
