//! Mark rules as the steering program looks them up: by the longest prefix that a destination lies in.

use std::collections::{BTreeMap, BTreeSet};

use lb_model::{MarkRule, Prefix, Protocol};

/// As many as `struct marked` of `include/steer.h` has room for.
const RANGES: usize = 16;
/// An IPv4 address is 96 bits into its mapped form.
const MAPPED: u32 = 96;

/// Ports, the last one included, of one protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ports {
    protocol: u8,
    first: u16,
    last: u16,
}

/// For every prefix what goes to marked ports there; what holds for a prefix is said again of those within it, because only
/// the longest is found.
pub type Marked = BTreeMap<Prefix, Vec<Ports>>;

/// What packets get a mark by `rules`, whichever.
pub fn marked<'a>(rules: impl Iterator<Item = &'a MarkRule> + Clone) -> Marked {
    let mut prefixes: BTreeSet<Prefix> = rules.clone().map(|rule| rule.destination).collect();
    if !prefixes.is_empty() {
        // A short IPv6 prefix has all of mapped IPv4 within it, which is not meant.
        prefixes.insert(Prefix::new(lb_model::Addr::UNSPECIFIED_V4, 0));
    }
    let ports_within = |prefix: &Prefix| {
        let around = rules.clone().filter(|rule| rule.destination.covers(prefix));
        merged(around.flat_map(ports).collect())
    };
    prefixes
        .iter()
        .map(|prefix| (*prefix, ports_within(prefix)))
        .collect()
}

/// The key of a prefix: `struct prefix` of `include/steer.h`.
pub fn key(prefix: &Prefix) -> Vec<u8> {
    let before = if prefix.addr().is_v4() { MAPPED } else { 0 };
    let len = before + u32::from(prefix.bits());
    let mut key = len.to_ne_bytes().to_vec();
    key.extend(prefix.addr().octets());
    key
}

/// The value: `struct marked` of `include/steer.h`.
pub fn value(ports: &[Ports]) -> Vec<u8> {
    // No packet is of protocol 0 and TCP or UDP.
    let unused = Ports {
        protocol: 0,
        first: 0,
        last: 0,
    };
    let padded = ports.iter().chain(std::iter::repeat(&unused)).take(RANGES);
    let entry = |ports: &Ports| {
        let [first, last] = [ports.first, ports.last].map(u16::to_ne_bytes);
        [first[0], first[1], last[0], last[1], ports.protocol, 0]
    };
    padded.flat_map(entry).collect()
}

fn ports(rule: &MarkRule) -> Vec<Ports> {
    let (first, last) = match &rule.ports {
        Some(ports) => (*ports.start(), *ports.end()),
        None => (0, u16::MAX),
    };
    let protocols = match rule.protocol {
        Some(protocol) => vec![protocol],
        None => vec![Protocol::Tcp, Protocol::Udp],
    };
    let of = |protocol: Protocol| Ports {
        protocol: protocol as u8,
        first,
        last,
    };
    protocols.into_iter().map(of).collect()
}

/// The same ports in as few ranges as possible; in fewer than that, with ports between them, where there is no room. What is
/// not ours after all goes back to the kernel from the workers.
fn merged(mut all: Vec<Ports>) -> Vec<Ports> {
    all.sort();
    let mut gap = 0;
    loop {
        let mut merged: Vec<Ports> = Vec::new();
        for ports in &all {
            match merged.last_mut() {
                Some(before)
                    if before.protocol == ports.protocol
                        && u32::from(ports.first) <= u32::from(before.last) + 1 + gap =>
                {
                    before.last = before.last.max(ports.last);
                }
                _ => merged.push(*ports),
            }
        }
        if merged.len() <= RANGES {
            return merged;
        }
        gap = 2 * gap + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_model::Addr;

    fn rule(prefix: Prefix, protocol: Option<Protocol>, ports: Option<(u16, u16)>) -> MarkRule {
        MarkRule {
            mark: 1,
            destination: prefix,
            protocol,
            ports: ports.map(|(first, last)| first..=last),
        }
    }

    fn v4(last: u8, len: u8) -> Prefix {
        Prefix::new(Addr::v4([198, 51, 100, last]), len)
    }

    fn shown(ports: &[Ports]) -> Vec<(u8, u16, u16)> {
        ports
            .iter()
            .map(|p| (p.protocol, p.first, p.last))
            .collect()
    }

    #[test]
    fn a_prefix_says_again_what_holds_around_it() {
        let rules = [
            rule(v4(0, 24), Some(Protocol::Tcp), Some((80, 90))),
            rule(v4(7, 32), Some(Protocol::Tcp), Some((91, 91))),
            rule(v4(7, 32), Some(Protocol::Udp), None),
            rule(Prefix::new(Addr::v6([0; 16]), 0), None, Some((1, 1))),
        ];
        let marked = marked(rules.iter());
        assert_eq!(shown(&marked[&v4(0, 24)]), [(6, 80, 90)]);
        assert_eq!(shown(&marked[&v4(7, 32)]), [(6, 80, 91), (17, 0, 65535)]);
        assert_eq!(shown(&marked[&v4(0, 0)]), [], "IPv4 is not IPv6's");
        assert_eq!(marked.len(), 4);
        assert!(super::marked([].iter()).is_empty());
    }

    #[test]
    fn too_many_ranges_become_wider_and_none_is_lost() {
        let rules: Vec<MarkRule> = (0..100)
            .map(|n| rule(v4(0, 24), Some(Protocol::Tcp), Some((10 * n, 10 * n + 1))))
            .collect();
        let marked = marked(rules.iter());
        let ports = &marked[&v4(0, 24)];
        assert!(ports.len() <= RANGES);
        for n in 0..100 {
            assert!(ports.iter().any(|p| p.first <= 10 * n && p.last > 10 * n));
        }
    }

    #[test]
    fn entries_have_the_layout_of_the_programs_structures() {
        let mut expected = 120_u32.to_ne_bytes().to_vec();
        expected.extend([0; 10]);
        expected.extend([0xff, 0xff, 198, 51, 100, 0]);
        assert_eq!(key(&v4(0, 24)), expected);
        let value = value(&ports(&rule(
            v4(0, 24),
            Some(Protocol::Udp),
            Some((80, 90)),
        )));
        assert_eq!(value.len(), 6 * RANGES);
        assert_eq!(value[4..8], [17, 0, 0, 0]);
    }
}
