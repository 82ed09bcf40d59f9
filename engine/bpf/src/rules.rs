//! Which packets are ours, and how one set of rules becomes another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use lb_model::{Addr, Endpoint, Mac, Prefix, Protocol, ServiceKey};

use crate::marked::{self, Marked, Ports};

/// What the steering program sends to the balancer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Virtual services: packets to them are ours; port 0 stands for every port. With each goes how many bytes of room its
    /// frames are given in front, for a header that is to stand there.
    pub services: BTreeMap<ServiceKey, u8>,
    /// Real servers whose replies come through us: packets from them are ours, unless they go to one of `locals`; port 0
    /// stands for every port.
    pub servers: BTreeSet<(Endpoint, Protocol)>,
    /// LIPs: packets to them are ours if they go to one of these ports.
    pub local_addresses: BTreeMap<Addr, RangeInclusive<u16>>,
    /// What gets a mark that a service goes by: packets to these ports of these prefixes are ours.
    pub marked: Marked,
    /// Hosts to which fragments are ours: they have no ports to go by.
    pub fragments_to: BTreeSet<Addr>,
    /// Hosts from which they are, unless they go to one of `locals`.
    pub fragments_from: BTreeSet<Addr>,
    /// This machine's own addresses: what servers send there answers the balancer's own connections.
    pub locals: BTreeSet<Addr>,
    /// Other balancers: what they send to a service, they have balanced already.
    pub peers: BTreeSet<Mac>,
}

/// One entry of the program's maps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    Service(ServiceKey, u8),
    Server(Endpoint, Protocol),
    LocalAddress(Addr, RangeInclusive<u16>),
    Marked(Prefix, Vec<Ports>),
    FragmentsTo(Addr),
    FragmentsFrom(Addr),
    Local(Addr),
    Peer(Mac),
}

/// One step from one set of rules to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Add(Rule),
    Remove(Rule),
}

impl Rules {
    /// The steps from these rules to `target`.
    ///
    /// Locals and peers come first and go last, so that at no moment between is an own connection taken for a reply, or
    /// a balanced packet for one to balance.
    pub(crate) fn changes_to(&self, target: &Rules) -> Vec<Change> {
        let service = |(key, room): (&ServiceKey, &u8)| Rule::Service(*key, *room);
        let new_services = target
            .services
            .iter()
            .filter(|(key, room)| self.services.get(*key) != Some(*room));
        let old_services = self
            .services
            .iter()
            .filter(|(key, _)| !target.services.contains_key(*key));
        let server = |(rip, protocol): &(Endpoint, Protocol)| Rule::Server(*rip, *protocol);
        let local = |addr: &Addr| Rule::Local(*addr);
        let to = |addr: &Addr| Rule::FragmentsTo(*addr);
        let from = |addr: &Addr| Rule::FragmentsFrom(*addr);
        let lip =
            |(addr, ports): (&Addr, &RangeInclusive<u16>)| Rule::LocalAddress(*addr, ports.clone());
        let new_lips = target
            .local_addresses
            .iter()
            .filter(|(addr, ports)| self.local_addresses.get(*addr) != Some(*ports));
        let old_lips = self
            .local_addresses
            .iter()
            .filter(|(addr, _)| !target.local_addresses.contains_key(*addr));
        let marked = |(prefix, ports): (&Prefix, &Vec<Ports>)| Rule::Marked(*prefix, ports.clone());
        let new_marked = target
            .marked
            .iter()
            .filter(|(prefix, ports)| self.marked.get(*prefix) != Some(*ports));
        let old_marked = self
            .marked
            .iter()
            .filter(|(prefix, _)| !target.marked.contains_key(*prefix));
        let peer = |mac: &Mac| Rule::Peer(*mac);
        let added = target
            .locals
            .difference(&self.locals)
            .map(local)
            .chain(target.peers.difference(&self.peers).map(peer))
            .chain(new_services.map(service))
            .chain(target.servers.difference(&self.servers).map(server))
            .chain(target.fragments_to.difference(&self.fragments_to).map(to))
            .chain(
                target
                    .fragments_from
                    .difference(&self.fragments_from)
                    .map(from),
            )
            .chain(new_lips.map(lip))
            .chain(new_marked.map(marked));
        let removed = self
            .servers
            .difference(&target.servers)
            .map(server)
            .chain(
                self.fragments_from
                    .difference(&target.fragments_from)
                    .map(from),
            )
            .chain(self.fragments_to.difference(&target.fragments_to).map(to))
            .chain(old_lips.map(lip))
            .chain(old_marked.map(marked))
            .chain(old_services.map(service))
            .chain(self.peers.difference(&target.peers).map(peer))
            .chain(self.locals.difference(&target.locals).map(local));
        added
            .map(Change::Add)
            .chain(removed.map(Change::Remove))
            .collect()
    }

    /// Follows one step.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Add(Rule::Service(key, room)) => self.services.insert(key, room).is_none(),
            Change::Add(Rule::Server(rip, protocol)) => self.servers.insert((rip, protocol)),
            Change::Add(Rule::LocalAddress(addr, ports)) => {
                self.local_addresses.insert(addr, ports).is_none()
            }
            Change::Add(Rule::Marked(prefix, ports)) => self.marked.insert(prefix, ports).is_none(),
            Change::Remove(Rule::Marked(prefix, _)) => self.marked.remove(&prefix).is_some(),
            Change::Add(Rule::FragmentsTo(addr)) => self.fragments_to.insert(addr),
            Change::Add(Rule::FragmentsFrom(addr)) => self.fragments_from.insert(addr),
            Change::Remove(Rule::FragmentsTo(addr)) => self.fragments_to.remove(&addr),
            Change::Remove(Rule::FragmentsFrom(addr)) => self.fragments_from.remove(&addr),
            Change::Add(Rule::Local(addr)) => self.locals.insert(addr),
            Change::Add(Rule::Peer(mac)) => self.peers.insert(mac),
            Change::Remove(Rule::Peer(mac)) => self.peers.remove(&mac),
            Change::Remove(Rule::Service(key, _)) => self.services.remove(&key).is_some(),
            Change::Remove(Rule::Server(rip, protocol)) => self.servers.remove(&(rip, protocol)),
            Change::Remove(Rule::LocalAddress(addr, _)) => {
                self.local_addresses.remove(&addr).is_some()
            }
            Change::Remove(Rule::Local(addr)) => self.locals.remove(&addr),
        };
    }
}

impl Rule {
    /// The entry's key: `struct endpoint` or `struct address` of `include/steer.h`.
    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Rule::Service(key, _) => endpoint_key(key.vip, key.protocol),
            Rule::Server(rip, protocol) => endpoint_key(*rip, *protocol),
            Rule::Marked(prefix, _) => marked::key(prefix),
            Rule::FragmentsTo(addr) | Rule::FragmentsFrom(addr) => host_key(*addr),
            Rule::LocalAddress(addr, _) | Rule::Local(addr) => addr.octets().to_vec(),
            Rule::Peer(mac) => [&mac.0[..], &[0, 0]].concat(),
        }
    }

    /// The entry's value: `struct ports` of `include/steer.h`, a service's room, or one byte that says nothing.
    pub(crate) fn value(&self) -> Vec<u8> {
        match self {
            Rule::LocalAddress(_, ports) => {
                let ends = [*ports.start(), *ports.end()];
                ends.iter().flat_map(|port| port.to_ne_bytes()).collect()
            }
            Rule::Marked(_, ports) => marked::value(ports),
            Rule::Service(_, room) => vec![*room],
            Rule::Server(..) | Rule::Local(_) | Rule::Peer(_) => vec![1],
            Rule::FragmentsTo(_) | Rule::FragmentsFrom(_) => vec![1],
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Service(key, _) => write!(f, "service {key}"),
            Rule::Server(rip, protocol) => write!(f, "server {protocol} {rip}"),
            Rule::LocalAddress(addr, ports) => {
                write!(
                    f,
                    "local address {addr} ports {}-{}",
                    ports.start(),
                    ports.end()
                )
            }
            Rule::Marked(prefix, _) => write!(f, "mark rules of {prefix}"),
            Rule::FragmentsTo(addr) => write!(f, "fragments to {addr}"),
            Rule::FragmentsFrom(addr) => write!(f, "fragments from {addr}"),
            Rule::Local(addr) => write!(f, "own address {addr}"),
            Rule::Peer(mac) => write!(f, "peer {mac}"),
        }
    }
}

fn endpoint_key(endpoint: Endpoint, protocol: Protocol) -> Vec<u8> {
    let mut key = endpoint.addr.octets().to_vec();
    key.extend(endpoint.port.to_be_bytes());
    key.extend([protocol as u8, 0]);
    key
}

/// A host's entry among endpoints: no port, and no protocol, so that it is no endpoint's.
fn host_key(addr: Addr) -> Vec<u8> {
    let mut key = addr.octets().to_vec();
    key.extend([0; 4]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(services: &[&str], servers: &[&str], locals: &[[u8; 4]]) -> Rules {
        let endpoint = |text: &&str| text.parse::<Endpoint>().expect("valid");
        Rules {
            services: services
                .iter()
                .map(|vip| ServiceKey {
                    vip: endpoint(vip),
                    protocol: Protocol::Tcp,
                })
                .map(|key| (key, 0))
                .collect(),
            servers: servers
                .iter()
                .map(|rip| (endpoint(rip), Protocol::Udp))
                .collect(),
            local_addresses: BTreeMap::new(),
            fragments_to: BTreeSet::new(),
            fragments_from: BTreeSet::new(),
            locals: locals.iter().map(|addr| Addr::v4(*addr)).collect(),
            marked: Marked::new(),
            peers: BTreeSet::new(),
        }
    }

    #[test]
    fn the_changes_lead_from_one_set_to_the_other_and_touch_nothing_else() {
        let from = rules(
            &["10.0.0.1:80", "10.0.0.2:80"],
            &["10.1.0.1:80"],
            &[[10, 0, 0, 9]],
        );
        let to = rules(
            &["10.0.0.2:80", "10.0.0.3:80"],
            &["10.1.0.2:80"],
            &[[10, 0, 0, 8]],
        );
        let (mut from, mut to) = (from, to);
        let lip = |last| Addr::v4([10, 1, 0, last]);
        from.local_addresses = [(lip(1), 1..=9), (lip(2), 1..=9), (lip(3), 1..=9)].into();
        to.local_addresses = [(lip(2), 1..=9), (lip(3), 1..=8), (lip(4), 1..=9)].into();
        from.peers = [Mac([2; 6]), Mac([3; 6])].into();
        to.peers = [Mac([3; 6]), Mac([4; 6])].into();
        let changes = from.changes_to(&to);
        assert_eq!(changes.len(), 11, "{changes:?}");
        let mut now = from.clone();
        changes.into_iter().for_each(|change| now.apply(change));
        assert_eq!(now, to);
        assert!(to.changes_to(&to).is_empty());
    }

    #[test]
    fn own_addresses_are_known_before_servers_and_forgotten_after_them() {
        let full = rules(&["10.0.0.1:80"], &["10.1.0.1:80"], &[[10, 0, 0, 9]]);
        let up = Rules::default().changes_to(&full);
        assert!(matches!(up.first(), Some(Change::Add(Rule::Local(_)))));
        let down = full.changes_to(&Rules::default());
        assert!(matches!(down.last(), Some(Change::Remove(Rule::Local(_)))));
    }

    #[test]
    fn keys_have_the_layout_of_the_programs_structures() {
        let key = ServiceKey {
            vip: "10.0.0.1:258".parse().expect("valid"),
            protocol: Protocol::Udp,
        };
        let service = Rule::Service(key, 20);
        assert_eq!(service.value(), [20]);
        let mut expected = vec![0; 10];
        expected.extend([0xff, 0xff, 10, 0, 0, 1, 1, 2, 17, 0]);
        assert_eq!(service.key(), expected);
        let addr = Addr::v4([10, 0, 0, 1]);
        assert_eq!(Rule::Local(addr).key(), expected[..16]);
        let lip = Rule::LocalAddress(addr, 1024..=65535);
        assert_eq!(lip.key(), expected[..16]);
        let ports = [1024u16.to_ne_bytes(), 65535u16.to_ne_bytes()].concat();
        assert_eq!(lip.value(), ports);
    }
}
