//! The place of the recordings: a director with a client's side and a servers' side.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb::{InterfaceId, Mac, Time};
use lb_ipvsadm::{ConnRow, Ipvs, Next, ServiceRow};
use lb_testkit::{PacketBuilder, pkt};
use lb_wire::TcpFlags;

use super::super::explain::Explanation;
use super::super::offline::{OfflineBalancer, Sent};

pub const CLIENT_SIDE: InterfaceId = InterfaceId(0);
pub const SERVER_SIDE: InterfaceId = InterfaceId(1);

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

const GATEWAY: Mac = Mac([2, 0, 0, 0, 0x0c, 0xfe]);
const CLIENT_SIDE_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xc0]);
const SERVER_SIDE_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xd0]);
const SERVER: Mac = Mac([2, 0x52, 0, 0, 0, 1]);

/// What differs between the recordings.
#[derive(Default)]
pub struct Place<'a> {
    pub sysctl: BTreeMap<String, u32>,
    /// Marks, and the prefixes of what gets them.
    pub marks: Vec<(u32, String)>,
    /// MTUs of the two sides; 1500 if nothing is said.
    pub mtu: Option<(u16, u16)>,
    /// Neighbours on the servers' side with their MACs.
    pub neighbours: Vec<(IpAddr, &'a str)>,
    /// Conns that there may be.
    pub capacity: u32,
}

impl Place<'_> {
    fn toml(&self) -> String {
        let (client_mtu, server_mtu) = self.mtu.unwrap_or((1500, 1500));
        let capacity = self.capacity;
        let mut toml = format!(
            r#"
[engine]
interfaces = ["c", "r"]
workers = 1
capacity = {capacity}
[[interface]]
name = "c"
mac = "{CLIENT_SIDE_MAC}"
mtu = {client_mtu}
addresses = ["198.18.0.1/24", "2001:db8:c::1/64"]
[[interface]]
name = "r"
mac = "{SERVER_SIDE_MAC}"
mtu = {server_mtu}
addresses = ["10.20.0.1/16", "2001:db8:20::1/64"]
[[route]]
destination = "0.0.0.0/0"
via = "198.18.0.254"
interface = "c"
[[route]]
destination = "::/0"
via = "2001:db8:c::fe"
interface = "c"
"#
        );
        for ip in ["198.18.0.254", "2001:db8:c::fe"] {
            neighbour(&mut toml, ip, GATEWAY, "c");
        }
        for (ip, mac) in &self.neighbours {
            neighbour(&mut toml, ip, mac, "r");
        }
        for (mark, destination) in &self.marks {
            let rule = format!("[[mark]]\nmark = {mark}\ndestination = \"{destination}\"\n");
            toml.push_str(&rule);
        }
        toml.push_str("[ipvs]\n");
        for (key, value) in &self.sysctl {
            writeln!(toml, "{key} = {value}").expect("memory");
        }
        toml
    }
}

fn neighbour(
    toml: &mut String,
    ip: impl std::fmt::Display,
    mac: impl std::fmt::Display,
    interface: &str,
) {
    write!(
        toml,
        "[[neighbour]]\nip = \"{ip}\"\nmac = \"{mac}\"\ninterface = \"{interface}\"\n"
    )
    .expect("memory");
}

/// The MAC of every server of the scheduling scenarios.
pub fn server_mac() -> String {
    SERVER.to_string()
}

/// A balancer in that place.
pub struct Lab {
    balancer: OfflineBalancer,
    clock: Time,
}

/// What became of a packet.
pub struct Outcome {
    pub explanation: Explanation,
    pub sent: Vec<Sent>,
}

impl Outcome {
    /// The server that the packet was sent to.
    pub fn server(&self) -> Option<&str> {
        let sent = self.explanation.verdict == "tx";
        self.explanation.server.as_deref().filter(|_| sent)
    }

    /// Type and code of the ICMP error that went back to the client.
    pub fn icmp(&self) -> Option<String> {
        let back = self.sent.iter().find(|sent| sent.egress == CLIENT_SIDE)?;
        let (name, at) = match (
            back.bytes[12..14].try_into(),
            back.bytes[23],
            back.bytes[20],
        ) {
            (Ok(ETHERTYPE_IPV4), 1, _) => ("icmp", 34),
            (Ok(ETHERTYPE_IPV6), _, 58) => ("icmp6", 54),
            _ => return None,
        };
        Some(format!("{name} {}/{}", back.bytes[at], back.bytes[at + 1]))
    }
}

impl Lab {
    pub fn new(place: &Place<'_>) -> Lab {
        let config = lb_config::parse("golden".into(), place.toml()).expect("valid");
        let mut lab = Lab {
            balancer: OfflineBalancer::new(&config.balancer).expect("valid"),
            clock: Time::ZERO,
        };
        lab.at(Duration::from_secs(1));
        lab
    }

    /// Lets time pass to that long after the start, and by a moment if that has been before.
    pub fn at(&mut self, time: Duration) {
        const MOMENT: Duration = Duration::from_micros(100);
        self.clock = (self.clock + MOMENT).max(Time::ZERO + time);
        self.balancer.pass_time(self.clock);
    }

    /// Lets some time pass.
    pub fn wait(&mut self, time: Duration) {
        self.clock = self.clock + time;
        self.balancer.pass_time(self.clock);
    }

    /// Executes an ipvsadm command, which must go well.
    pub fn command(&mut self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let answer = self.balancer.command(&words).expect("in memory");
        let errors = String::from_utf8_lossy(&answer.errors);
        assert_eq!(answer.code, 0, "{command}: {errors}");
    }

    /// A frame comes in.
    pub fn frame(&mut self, side: InterfaceId, frame: &[u8]) -> Outcome {
        let explanation = self.balancer.packet(side, frame);
        let sent = std::iter::from_fn(|| self.balancer.take_sent()).collect();
        Outcome { explanation, sent }
    }

    /// The services in the order in which they were added, with their servers in IPVS's order.
    pub fn services(&mut self) -> Vec<ServiceRow> {
        let rows = self.balancer.administer(|ipvs| ipvs.services());
        let mut rows = rows.expect("a table");
        // As a kernel, the engine lists the service that was added last first.
        rows.reverse();
        rows
    }

    /// What `each` makes of the conns and templates.
    pub fn conns<T>(&mut self, each: impl Fn(&ConnRow<'_>) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        let mut keep = |row: &ConnRow<'_>| {
            found.extend(each(row));
            Next::More
        };
        let read = self.balancer.administer(|ipvs| ipvs.conns(&mut keep));
        read.expect("a table");
        found
    }
}

/// A packet of a client.
pub fn from_client(client: SocketAddr, service: SocketAddr) -> PacketBuilder {
    pkt()
        .ethernet(GATEWAY, CLIENT_SIDE_MAC)
        .ip(client.ip(), service.ip())
}

/// A packet of a server.
pub fn from_server(server: SocketAddr, client: SocketAddr) -> PacketBuilder {
    pkt()
        .ethernet(SERVER, SERVER_SIDE_MAC)
        .ip(server.ip(), client.ip())
}

/// TCP flags by their letters.
pub fn flags(letters: &str) -> TcpFlags {
    let flag = |letter| match letter {
        'F' => TcpFlags::FIN,
        'S' => TcpFlags::SYN,
        'R' => TcpFlags::RST,
        'P' => TcpFlags::PSH,
        'A' => TcpFlags::ACK,
        _ => panic!("no TCP flag: {letter}"),
    };
    letters
        .chars()
        .map(flag)
        .fold(TcpFlags::default(), TcpFlags::with)
}
