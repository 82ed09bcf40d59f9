//! A neighbour as the kernel tells it.

use lb_model::{Addr, Mac};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

/// What the kernel knows of one neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Neighbour {
    state: NeighbourState,
    mac: Option<Mac>,
}

impl Neighbour {
    /// The interface's kernel index, the address and the neighbour in `message`; `None` for what is no
    /// neighbour of ours: a bridge's forwarding entry, a proxy entry.
    pub fn read(message: &NeighbourMessage) -> Option<(u32, Addr, Neighbour)> {
        if message.header.flags.contains(NeighbourFlags::Proxy) {
            return None;
        }
        let mut addr = None;
        let mut mac = None;
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                    addr = Some((*v4).into());
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                    addr = Some((*v6).into());
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => {
                    mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
                }
                _ => {}
            }
        }
        let state = message.header.state;
        Some((message.header.ifindex, addr?, Neighbour { state, mac }))
    }

    /// The MAC to send to. A stale one is good until the kernel finds out otherwise, as for its own packets.
    pub fn usable(&self) -> Option<Mac> {
        match self.state {
            NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp => self.mac,
            _ => None,
        }
    }

    /// Whether using it would make the kernel look for it. It must not be asked to in the other states: it is
    /// busy with it already, or (a permanent neighbour) would take it for one that may change.
    pub fn wants_asking(&self) -> bool {
        matches!(
            self.state,
            NeighbourState::Stale | NeighbourState::Failed | NeighbourState::None
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::IpAddr;

    use super::*;

    pub(crate) fn message(
        index: u32,
        addr: &str,
        state: NeighbourState,
        mac: Option<[u8; 6]>,
    ) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = index;
        message.header.state = state;
        let addr = match addr.parse().expect("an address") {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        };
        message
            .attributes
            .push(NeighbourAttribute::Destination(addr));
        if let Some(mac) = mac {
            message
                .attributes
                .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        }
        message
    }

    #[test]
    fn which_states_carry_traffic_and_which_are_asked_about() {
        use NeighbourState as S;
        // state, usable, wants asking
        let cases = [
            (S::None, false, true),
            (S::Incomplete, false, false),
            (S::Reachable, true, false),
            (S::Stale, true, true),
            (S::Delay, true, false),
            (S::Probe, true, false),
            (S::Failed, false, true),
            (S::Noarp, true, false),
            (S::Permanent, true, false),
        ];
        for (state, usable, asked) in cases {
            let message = message(3, "2001:db8::1", state, Some([2, 0, 0, 0, 0, 1]));
            let (index, _, neighbour) = Neighbour::read(&message).expect("a neighbour");
            assert_eq!(index, 3);
            assert_eq!(neighbour.usable().is_some(), usable, "{state}");
            assert_eq!(neighbour.wants_asking(), asked, "{state}");
        }
    }

    #[test]
    fn without_an_ethernet_address_there_is_nothing_to_send_to() {
        let mut short = message(3, "10.0.0.1", NeighbourState::Reachable, None);
        let read = |m: &NeighbourMessage| Neighbour::read(m).and_then(|(_, _, n)| n.usable());
        assert_eq!(read(&short), None);
        short
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(vec![10, 0, 0, 1]));
        assert_eq!(read(&short), None);
    }

    #[test]
    fn proxy_and_bridge_entries_are_no_neighbours() {
        let mut proxy = message(3, "10.0.0.1", NeighbourState::Permanent, None);
        proxy.header.flags = NeighbourFlags::Proxy;
        assert_eq!(Neighbour::read(&proxy), None);
        let mut bridge = message(3, "10.0.0.1", NeighbourState::Reachable, None);
        bridge.attributes = vec![NeighbourAttribute::LinkLayerAddress(vec![2; 6])];
        assert_eq!(Neighbour::read(&bridge), None);
    }
}
