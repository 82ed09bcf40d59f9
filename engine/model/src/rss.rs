//! How a NIC chooses the queue of a packet: the Toeplitz hash of receive-side scaling ("Introduction to Receive Side Scaling",
//! Microsoft; all NICs that tell their key have it).

use crate::{Addr, Endpoint, FlowKey, Protocol};

/// What a NIC hashes of packets of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashedFields {
    /// Both addresses and both ports.
    Ports,
    /// Both addresses.
    Addresses,
    /// Something else, or nothing.
    Other,
}

/// A NIC's receive-side scaling, as far as it concerns TCP and UDP.
#[derive(Clone, PartialEq, Eq)]
pub struct Rss {
    key: Vec<u8>,
    /// The queue for each of the hash's values, by its lowest bits.
    queues: Vec<u16>,
    fields: [HashedFields; 4],
    /// What each byte of the destination port adds to the hash, over IPv4 and over IPv6.
    port_parts: [[Box<[u32; 256]>; 2]; 2],
}

/// Bytes of a hashed IPv6 packet's addresses and ports, and of the hash.
const LEAST_KEY: usize = 36 + 4;

impl Rss {
    /// With this key and these queues; what is hashed of TCP over IPv4, UDP over IPv4, TCP over IPv6 and UDP over
    /// IPv6. `None` if a NIC cannot be like that.
    pub fn new(key: Vec<u8>, queues: Vec<u16>, fields: [HashedFields; 4]) -> Option<Rss> {
        if key.len() < LEAST_KEY || queues.is_empty() {
            return None;
        }
        let parts = |at: usize| {
            let part = |byte: usize| {
                let of = |value: usize| toeplitz(&key[at + byte..], &[value as u8]);
                Box::new(std::array::from_fn(of))
            };
            [part(0), part(1)]
        };
        Some(Rss {
            port_parts: [parts(10), parts(34)],
            key,
            queues,
            fields,
        })
    }

    /// What is hashed of packets of this flow.
    pub fn fields(&self, protocol: Protocol, is_v4: bool) -> HashedFields {
        match (protocol, is_v4) {
            (Protocol::Tcp, true) => self.fields[0],
            (Protocol::Udp, true) => self.fields[1],
            (Protocol::Tcp, false) => self.fields[2],
            (Protocol::Udp, false) => self.fields[3],
            (Protocol::Sctp, _) => HashedFields::Other,
        }
    }

    /// All queues that packets come in on.
    pub fn queues(&self) -> &[u16] {
        &self.queues
    }

    /// The queue on which packets of `flow` come in; `None` if the NIC hashes what is not known here.
    pub fn queue(&self, flow: &FlowKey) -> Option<u16> {
        let FlowKey {
            source,
            destination,
            protocol,
        } = *flow;
        match self.fields(protocol, source.addr.is_v4()) {
            HashedFields::Ports => {
                let start = self.hash_to_any_port(source, destination.addr);
                Some(self.queue_of_port(start, destination))
            }
            HashedFields::Addresses => {
                Some(self.queue_of(self.hash_addresses(source.addr, destination.addr)))
            }
            HashedFields::Other => None,
        }
    }

    /// The hash of packets from `source` to port 0 of `destination`.
    pub fn hash_to_any_port(&self, source: Endpoint, destination: Addr) -> u32 {
        let len = 2 * address(&source.addr).len();
        self.hash_addresses(source.addr, destination)
            ^ toeplitz(&self.key[len..], &source.port.to_be_bytes())
    }

    /// The queue on which packets come in to this port, if their hash to port 0 is `start`.
    #[inline]
    pub fn queue_of_port(&self, start: u32, destination: Endpoint) -> u16 {
        let parts = &self.port_parts[usize::from(!destination.addr.is_v4())];
        let [high, low] = destination.port.to_be_bytes();
        self.queue_of(start ^ parts[0][usize::from(high)] ^ parts[1][usize::from(low)])
    }

    fn hash_addresses(&self, source: Addr, destination: Addr) -> u32 {
        let (source, destination) = (address(&source), address(&destination));
        toeplitz(&self.key, source) ^ toeplitz(&self.key[source.len()..], destination)
    }

    fn queue_of(&self, hash: u32) -> u16 {
        self.queues[hash as usize % self.queues.len()]
    }
}

fn address(addr: &Addr) -> &[u8] {
    let octets = addr.octets();
    // IPv4's are the last four.
    if addr.is_v4() { &octets[12..] } else { octets }
}

/// For each bit of `input` that is set, the 32 bits of the key from there on, all combined by exclusive or. So the hash of
/// two inputs in a row is that of the first combined with that of the second under the rest of the key.
fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
    let mut hash = 0;
    for (at, byte) in input.iter().enumerate() {
        let window = key[at..at + 5]
            .iter()
            .fold(0_u64, |window, byte| window << 8 | u64::from(*byte));
        for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
            hash ^= (window >> (8 - bit)) as u32;
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the published examples.
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    /// Destination, source, the hash of their addresses, and that with ports: "Verifying the RSS Hash Calculation", Microsoft.
    const PUBLISHED: [(&str, &str, u32, u32); 8] = [
        (
            "161.142.100.80:1766",
            "66.9.149.187:2794",
            0x323e_8fc2,
            0x51cc_c178,
        ),
        (
            "65.69.140.83:4739",
            "199.92.111.2:14230",
            0xd718_262a,
            0xc626_b0ea,
        ),
        (
            "12.22.207.184:38024",
            "24.19.198.95:12898",
            0xd2d0_a5de,
            0x5c2b_394a,
        ),
        (
            "209.142.163.6:2217",
            "38.27.205.30:48228",
            0x8298_9176,
            0xafc7_327f,
        ),
        (
            "202.188.127.2:1303",
            "153.39.163.191:44251",
            0x5d18_09c5,
            0x10e8_28a2,
        ),
        (
            "[3ffe:2501:200:3::1]:1766",
            "[3ffe:2501:200:1fff::7]:2794",
            0x2cc1_8cd5,
            0x4020_7d3d,
        ),
        (
            "[ff02::1]:4739",
            "[3ffe:501:8::260:97ff:fe40:efab]:14230",
            0x0f0c_461c,
            0xdde5_1bbf,
        ),
        (
            "[fe80::200:f8ff:fe21:67cf]:38024",
            "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];

    fn rss(queues: Vec<u16>) -> Rss {
        use HashedFields::*;
        let fields = [Ports, Addresses, Ports, Other];
        Rss::new(KEY.to_vec(), queues, fields).expect("a possible NIC")
    }

    #[test]
    fn hashes_are_those_of_the_published_examples() {
        let rss = rss(vec![0]);
        for (destination, source, of_addresses, with_ports) in PUBLISHED {
            let [destination, source]: [Endpoint; 2] =
                [destination, source].map(|end| end.parse().expect("an endpoint"));
            let hash = rss.hash_addresses(source.addr, destination.addr);
            assert_eq!(hash, of_addresses, "{source} -> {destination}");
            let [high, low] = destination.port.to_be_bytes().map(usize::from);
            let parts = &rss.port_parts[usize::from(!destination.addr.is_v4())];
            let start = rss.hash_to_any_port(source, destination.addr);
            assert_eq!(start ^ parts[0][high] ^ parts[1][low], with_ports);
        }
    }

    #[test]
    fn queues_follow_the_lowest_bits_of_what_is_hashed() {
        let rss = rss((0..128).collect());
        for (destination, source, of_addresses, with_ports) in PUBLISHED {
            let mut flow = FlowKey {
                source: source.parse().expect("an endpoint"),
                destination: destination.parse().expect("an endpoint"),
                protocol: Protocol::Tcp,
            };
            assert_eq!(rss.queue(&flow), Some((with_ports & 127) as u16));
            flow.protocol = Protocol::Udp;
            let v4 = flow.source.addr.is_v4();
            let expected = v4.then_some((of_addresses & 127) as u16);
            assert_eq!(rss.queue(&flow), expected);
        }
    }

    #[test]
    fn a_key_that_is_too_short_and_a_nic_without_queues_are_refused() {
        let fields = [HashedFields::Ports; 4];
        assert!(Rss::new(vec![1; 39], vec![0], fields).is_none());
        assert!(Rss::new(vec![1; 40], Vec::new(), fields).is_none());
    }
}
