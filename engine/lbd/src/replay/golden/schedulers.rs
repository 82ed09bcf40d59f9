//! Scheduling: every choice of a server, every count, every template.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::Lines;
use std::time::Duration;

use lb_ipvsadm::{ServerRow, ServerSettings, ServiceRow};
use serde::Deserialize;

use super::corpus;
use super::history::{Differs, History, Tally};
use super::lab::{self, CLIENT_SIDE, Lab, Outcome, Place, SERVER_SIDE, flags};

/// Scenarios that nothing times were recorded within 8 s, before any conn ended.
const LONGEST: Duration = Duration::from_millis(6500);
const LONGEST_STEP: Duration = Duration::from_millis(30);

/// The recording shows one template twice: the kernel's table, which all namespaces share, was read in pieces while conns
/// of others came and went.
const TEMPLATE_TWICE: &str = "template listed twice";
const TEMPLATES_TWICE: [(&str, &str); 4] = [
    ("dh/drain-v4-a1", "221.209.184.12:0"),
    ("dh/persist-v4-a3", "47.76.0.0:0"),
    (
        "sed/persist-v6-a1",
        "[2400:0:2526:7440:3ca1:80dd:71ab:f7ad]:0",
    ),
    (
        "sed/persist-v6-a1",
        "[2400:0:88b:953d:2d8c:152b:a437:2f35]:0",
    ),
];

macro_rules! schedulers {
    ($($name:ident: $events:literal,)*) => {$(
        #[test]
        fn $name() {
            replay(stringify!($name), $events);
        }
    )*};
}

// How many events there are.
schedulers! {
    dh: 11_795,
    fo: 8_092,
    lblc: 12_076,
    lblcr: 12_564,
    lc: 8_200,
    mh: 10_918,
    nq: 8_198,
    ovf: 8_173,
    rr: 8_251,
    sed: 8_140,
    sh: 11_134,
    wlc: 8_224,
    wrr: 8_145,
}

fn replay(scheduler: &str, events: usize) {
    let text = corpus::text(&format!("sched-{scheduler}"));
    let mut lines = text.lines();
    let mut tally = Tally::default();
    while let Some(scenario) = Scenario::read(&mut lines) {
        let mut history = History::of(&*scenario.head.name);
        let run = Run::new(&scenario, &mut tally, &mut history);
        if run.events().is_err() {
            tally.differed(history);
        }
    }
    match scheduler {
        "dh" | "sed" => tally.settle(events, &[TEMPLATE_TWICE]),
        _ => tally.settle(events, &[]),
    }
}

/// A scenario as it stands in the file.
struct Scenario<'a> {
    head: Head,
    clients: Vec<SocketAddr>,
    events: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Head {
    name: String,
    forward: String,
    proto: String,
    sysctl: BTreeMap<String, u32>,
    marks: Vec<(u32, String)>,
    /// Where all packets go, unless each says.
    destination: Option<SocketAddr>,
    commands: Vec<String>,
}

impl<'a> Scenario<'a> {
    fn read(lines: &mut Lines<'a>) -> Option<Scenario<'a>> {
        let head = serde_json::from_str(lines.next()?).expect("a head");
        let clients = lines.next().expect("clients").split_whitespace();
        let clients = clients.map(unpacked).collect();
        let mut events = Vec::new();
        // The next head begins with a brace.
        let mut ahead = lines.clone();
        while let Some(line) = ahead.next().filter(|line| !line.starts_with('{')) {
            events.push(line);
            lines.next();
        }
        Some(Scenario {
            head,
            clients,
            events,
        })
    }

    /// The servers of all commands.
    fn servers(&self) -> Vec<IpAddr> {
        let set_up = self.head.commands.iter().map(String::as_str);
        let later = self.events.iter().copied();
        let commands = set_up.chain(later);
        let named = commands.filter_map(|command| command.split_once(" -r ")?.1.split(' ').next());
        let mut servers: Vec<IpAddr> = named.map(|name| endpoint(name).ip()).collect();
        servers.sort();
        servers.dedup();
        servers
    }
}

fn endpoint(name: &str) -> SocketAddr {
    name.parse().expect("an address and a port")
}

/// An address and a port in hexadecimal digits.
fn unpacked(digits: &str) -> SocketAddr {
    let number = u128::from_str_radix(&digits[..digits.len() - 4], 16).expect("an address");
    let port = u16::from_str_radix(&digits[digits.len() - 4..], 16).expect("a port");
    let ip: IpAddr = match digits.len() {
        12 => Ipv4Addr::from(number as u32).into(),
        _ => Ipv6Addr::from(number).into(),
    };
    SocketAddr::new(ip, port)
}

/// A scenario on its way through the engine.
struct Run<'a> {
    scenario: &'a Scenario<'a>,
    tally: &'a mut Tally,
    history: &'a mut History,
    lab: Lab,
    /// What was named, by number.
    names: Vec<&'a str>,
    /// Where the clients that came so far were last recorded to go.
    servers: Vec<Option<&'a str>>,
    step: Duration,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario<'a>, tally: &'a mut Tally, history: &'a mut History) -> Run<'a> {
        let head = &scenario.head;
        let mac = lab::server_mac();
        let servers = scenario.servers();
        let mut lab = Lab::new(&Place {
            sysctl: head.sysctl.clone(),
            marks: head.marks.clone(),
            neighbours: servers.into_iter().map(|ip| (ip, &*mac)).collect(),
            capacity: 20_000,
            ..Place::default()
        });
        for command in &head.commands {
            lab.command(command);
        }
        let count = scenario.events.len().max(1) as u32;
        Run {
            scenario,
            tally,
            history,
            lab,
            names: Vec::new(),
            servers: Vec::new(),
            step: LONGEST_STEP.min(LONGEST / count),
        }
    }

    /// To the end, or to the first difference.
    fn events(mut self) -> Result<(), Differs> {
        let mut timed = false;
        for line in &self.scenario.events {
            let (kind, rest) = line.split_at(1);
            if kind == "@" {
                timed = true;
                let seconds: f64 = rest.parse().expect("seconds");
                self.lab.at(Duration::from_secs_f64(1.0 + seconds));
                continue;
            }
            if kind == "t" {
                // With the listing of the servers.
                self.templates(rest)?;
                continue;
            }
            if !timed {
                self.lab.wait(self.step);
            }
            match kind {
                "!" => {
                    self.history.note(rest);
                    self.lab.command(rest);
                }
                "?" => self.counts(rest)?,
                _ => self.packets(kind, rest)?,
            }
        }
        Ok(())
    }

    /// What was named by its number, or for the first time.
    fn name(&mut self, word: &'a str) -> &'a str {
        match word.parse::<usize>() {
            Ok(number) => self.names[number],
            Err(_) => {
                self.names.push(word);
                word
            }
        }
    }

    fn packets(&mut self, kind: &'a str, rest: &'a str) -> Result<(), Differs> {
        let (who, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (letters, number) =
            who.split_at(who.find(|c: char| c.is_ascii_digit()).unwrap_or(who.len()));
        let client = number.parse().unwrap_or(self.servers.len());
        self.servers
            .resize(self.servers.len().max(client + 1), None);
        let (to, rest) = match rest.strip_prefix('>') {
            Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
            None => ("", rest),
        };
        let destination = match to {
            "" => self.scenario.head.destination.expect("one service"),
            word => endpoint(self.name(word)),
        };
        let server = match rest {
            "" => self.servers[client],
            word if word.starts_with('-') => None,
            word => Some(self.name(word)),
        };
        self.servers[client] = server;
        let recorded = match (server, rest) {
            (Some(name), _) => name,
            (None, "-" | "") => "silence",
            (None, reply) => &reply[1..],
        };
        let exchange = Exchange {
            kind,
            letters,
            client: self.scenario.clients[client],
            destination,
            both_ways: self.scenario.head.forward == "nat",
            udp: self.scenario.head.proto == "udp",
        };
        let here = exchange.run(&mut self.lab);
        self.history.event(&exchange, recorded, here)?;
        self.tally.agreed();
        Ok(())
    }

    fn counts(&mut self, listed: &'a str) -> Result<(), Differs> {
        let service = |service: &'a str| {
            let words: Vec<&str> = service.split_whitespace().collect();
            let server =
                |server: &[&'a str]| [&[self.name(server[0])], &server[1..]].concat().join(" ");
            words.chunks(4).map(server).collect::<Vec<_>>().join(", ")
        };
        let recorded: Vec<String> = listed.split('|').map(service).collect();
        let service = |service: ServiceRow| {
            let server = |row: &ServerRow| {
                let ServerSettings {
                    address, weight, ..
                } = &row.settings;
                format!("{address} {weight} {} {}", row.active, row.inactive)
            };
            let servers: Vec<String> = service.servers.iter().map(server).collect();
            servers.join(", ")
        };
        let here: Vec<String> = self.lab.services().into_iter().map(service).collect();
        let event = "servers with weight, active and inactive conns";
        self.history
            .event(event, recorded.join(" | "), here.join(" | "))?;
        self.tally.agreed();
        Ok(())
    }

    fn templates(&mut self, listed: &'a str) -> Result<(), Differs> {
        let words: Vec<&str> = listed.split_whitespace().collect();
        let words: Vec<&str> = words.into_iter().map(|word| self.name(word)).collect();
        let mut recorded: Vec<String> = words.chunks(3).map(|t| t.join(" ")).collect();
        recorded.sort();
        for (scenario, client) in TEMPLATES_TWICE {
            let twice = |a: &String, b: &String| a == b && a.starts_with(client);
            let before = recorded.len();
            if scenario == self.scenario.head.name {
                recorded.dedup_by(|a, b| twice(a, b));
            }
            if recorded.len() < before {
                self.tally.excused(TEMPLATE_TWICE);
            }
        }
        let mut here = self.lab.conns(|row| {
            let is_template = row.client.port() == 0;
            is_template.then(|| format!("{} {} {}", row.client, row.virtual_service, row.server))
        });
        here.sort();
        let differing = |these: &[String], those: &[String]| {
            let differing = these.iter().filter(|t| !those.contains(t));
            let names: Vec<&str> = differing.map(String::as_str).collect();
            format!("{} of {}: {}", names.len(), these.len(), names.join(", "))
        };
        let event = "templates that only one side has";
        let (only_there, only_here) = (differing(&recorded, &here), differing(&here, &recorded));
        self.history.event(event, only_there, only_here)?;
        self.tally.agreed();
        Ok(())
    }
}

/// One event's packets.
struct Exchange<'a> {
    kind: &'a str,
    letters: &'a str,
    client: SocketAddr,
    destination: SocketAddr,
    both_ways: bool,
    udp: bool,
}

impl fmt::Display for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            "o" => "opens to",
            "s" => "begins to open to",
            "d" => "sends to",
            "f" => "closes to",
            "h" => "closes its side to",
            _ => "resets to",
        };
        write!(f, "{} {what} {}", self.client, self.destination)
    }
}

impl Exchange<'_> {
    /// Sends them; what became of the first.
    fn run(&self, lab: &mut Lab) -> String {
        // What the client sends first, what the server answers, what the client says to that.
        let (first, answer, last) = match self.kind {
            "o" => ("S", "SA", "A"),
            "f" => ("FA", "FA", "A"),
            "s" => ("S", "", ""),
            "h" => ("FA", "", ""),
            "r" => ("R", "", ""),
            _ if self.letters.is_empty() => ("PA", "", ""),
            _ => (self.letters, "", ""),
        };
        let outcome = self.send(lab, first);
        let Some(server) = outcome.server() else {
            return self.heard(&outcome, first);
        };
        if !self.udp {
            if self.both_ways && !answer.is_empty() {
                self.answer(lab, endpoint(server), answer);
            }
            if !last.is_empty() {
                self.send(lab, last);
            }
        }
        server.to_owned()
    }

    fn send(&self, lab: &mut Lab, letters: &str) -> Outcome {
        let (cport, vport) = (self.client.port(), self.destination.port());
        let packet = lab::from_client(self.client, self.destination);
        let packet = match self.udp {
            true => packet.udp(cport, vport),
            false => packet.tcp(cport, vport).flags(flags(letters)),
        };
        lab.frame(CLIENT_SIDE, &packet.payload(b"question").bytes())
    }

    fn answer(&self, lab: &mut Lab, server: SocketAddr, letters: &str) {
        // A server of a mark or of every port answers from the port asked for.
        let port = match server.port() {
            0 => self.destination.port(),
            port => port,
        };
        let packet = lab::from_server(server, self.client).tcp(port, self.client.port());
        lab.frame(SERVER_SIDE, &packet.flags(flags(letters)).bytes());
    }

    /// What the client hears when its packet went to no server: from us, or from the kernel where it is left to that.
    fn heard(&self, outcome: &Outcome, letters: &str) -> String {
        match (outcome.icmp(), outcome.explanation.verdict) {
            (Some(icmp), _) => icmp,
            (None, "pass") if self.udp => self.unreachable().to_owned(),
            (None, "pass") if !letters.contains('R') => "tcp R".to_owned(),
            _ => "silence".to_owned(),
        }
    }

    fn unreachable(&self) -> &'static str {
        match self.client {
            SocketAddr::V4(_) => "icmp 3/3",
            SocketAddr::V6(_) => "icmp6 1/4",
        }
    }
}
