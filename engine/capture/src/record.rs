//! One captured packet, and the interface it was captured on.

use lb_model::Time;

/// One packet of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Position of its interface in [`Reader::interfaces`](crate::Reader::interfaces).
    pub interface: usize,
    /// When it was captured, in nanoseconds since 1970.
    pub time: Time,
    /// The bytes that the capture holds.
    pub bytes: &'a [u8],
    /// How long the packet was on the wire.
    pub original_len: u32,
}

impl<'a> Record<'a> {
    /// A packet captured whole.
    ///
    /// # Panics
    ///
    /// With a packet of 4 GiB and more, for which captures have no length field.
    pub fn whole(interface: usize, time: Time, bytes: &'a [u8]) -> Record<'a> {
        Record {
            interface,
            time,
            bytes,
            original_len: u32::try_from(bytes.len()).expect("packets are shorter than 4 GiB"),
        }
    }

    /// Whether the capture holds less than the packet that was on the wire.
    pub fn is_snapped(&self) -> bool {
        (self.bytes.len() as u64) < u64::from(self.original_len)
    }
}

/// An interface that packets were captured on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name, if the capture has one; classic pcap never does.
    pub name: Option<String>,
    /// What its packets start with, by the number that tcpdump.org registers; [`ETHERNET`](Interface::ETHERNET) for ours.
    pub link_type: u16,
    /// Longer packets were cut to this length; 0 is no limit.
    pub snap_len: u32,
}

impl Interface {
    /// The link type of Ethernet frames.
    pub const ETHERNET: u16 = 1;

    /// An Ethernet interface whose packets are captured whole.
    pub fn ethernet(name: impl Into<String>) -> Interface {
        Interface {
            name: Some(name.into()),
            link_type: Interface::ETHERNET,
            snap_len: 0,
        }
    }
}
