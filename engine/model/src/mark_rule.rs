//! What stands in for netfilter's marks.

use std::ops::RangeInclusive;

use crate::{FlowKey, Prefix, Protocol};

/// Gives a mark to packets by where they go: there is no netfilter in front of lbd that could.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkRule {
    /// The mark.
    pub mark: u32,
    /// Packets to here get it.
    pub destination: Prefix,
    /// Of this protocol; `None`: of any.
    pub protocol: Option<Protocol>,
    /// To these ports; `None`: to any.
    pub ports: Option<RangeInclusive<u16>>,
}

impl MarkRule {
    /// Whether packets of `flow` get the mark.
    pub fn matches(&self, flow: &FlowKey) -> bool {
        let to = flow.destination;
        self.destination.contains(to.addr)
            && self
                .protocol
                .is_none_or(|protocol| protocol == flow.protocol)
            && self
                .ports
                .as_ref()
                .is_none_or(|ports| ports.contains(&to.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Addr;

    #[test]
    fn destination_protocol_and_port_must_all_agree() {
        let rule = MarkRule {
            mark: 7,
            destination: Prefix::new(Addr::v4([198, 51, 100, 0]), 24),
            protocol: Some(Protocol::Tcp),
            ports: Some(80..=90),
        };
        let matches = |to: &str, protocol| {
            let destination = to.parse().expect("valid");
            rule.matches(&FlowKey {
                destination,
                protocol,
                ..FlowKey::UNKNOWN
            })
        };
        assert!(matches("198.51.100.9:80", Protocol::Tcp));
        assert!(matches("198.51.100.9:90", Protocol::Tcp));
        assert!(!matches("198.51.100.9:91", Protocol::Tcp));
        assert!(!matches("198.51.100.9:80", Protocol::Udp));
        assert!(!matches("198.51.101.9:80", Protocol::Tcp));
    }
}
