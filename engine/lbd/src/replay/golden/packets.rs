//! Frame in, frames out: byte by byte, but for the bytes that a kernel chooses anew each time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use super::super::offline::Sent;
use super::corpus;
use super::history::{Differs, History, Tally};
use super::lab::{CLIENT_SIDE, Lab, Outcome, Place, SERVER_SIDE};

/// The first line: the addresses in use.
#[derive(Deserialize)]
struct Addresses {
    values: Values,
    director: Director,
    server_mac: String,
    server_other_mac: String,
}

#[derive(Deserialize)]
struct Values {
    rs: IpAddr,
    rs_other: IpAddr,
}

#[derive(Deserialize)]
struct Director {
    server_side: ServerSide,
}

#[derive(Deserialize)]
struct ServerSide {
    router_mac: String,
    router_ip: Vec<IpAddr>,
}

/// Every other line.
#[derive(Deserialize)]
struct Case {
    case: String,
    cfg: Configuration,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Configuration {
    mtu_c: u16,
    mtu_r: u16,
    sysctl: BTreeMap<String, u32>,
    ipvsadm: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    Frame(Box<Frame>),
    Command { ipvsadm: String },
}

#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "in")]
    side: String,
    hex: String,
    /// What it is, for people.
    show: String,
    out: Vec<Out>,
}

#[derive(Deserialize)]
struct Out {
    #[serde(rename = "if")]
    side: String,
    hex: String,
    /// Offsets of bytes that differ between one run of the kernel and another.
    #[serde(default)]
    vary: Vec<usize>,
}

/// Where we do something else, and why: in a file, in a case, with these frames (docs/decisions/0005).
const DIFFERENT: [(&str, &str, &[usize], &str); 8] = [
    ("nat-v4", "udp", &[5, 6], NO_CHECKSUM),
    ("nat-v6", "icmp_err_from_client", &[16], WRONG_CHECKSUM),
    ("dr-v6", "icmp_err_from_client", &[15], WRONG_CHECKSUM),
    ("tun-v6", "icmp_err_from_client", &[15], WRONG_CHECKSUM),
    ("nat-v6", "icmp_err_from_rs_side", &[3, 4, 5, 6, 7, 8], LOST),
    ("nat-v6", "icmp_err_from_rs_side", &[9, 10], LOST),
    (
        "tun-v6",
        "icmp_err_from_rs_side",
        &[2, 3, 4, 5, 6, 7, 8, 9],
        LOST,
    ),
    ("tun-v6", "icmp_err_from_rs_side", &[12, 13], LEARNED),
];
const NO_CHECKSUM: &str = "UDP without a checksum stays without one";
const WRONG_CHECKSUM: &str = "an ICMPv6 error with a wrong checksum is dropped";
const LEARNED: &str = "what an ICMPv6 error said of the path's MTU is known; IPVS has lost it";
const LOST: &str = "an ICMPv6 error of a server's side reaches the client; IPVS loses it";

macro_rules! files {
    ($($name:ident: $file:literal, $left:literal;)*) => {$(
        #[test]
        fn $name() {
            replay($file, $left);
        }
    )*};
}

// How many frames are left to the kernel, which plays no part here.
files! {
    nat_v4: "nat-v4", 23;
    nat_v6: "nat-v6", 22;
    dr_v4: "dr-v4", 39;
    dr_v6: "dr-v6", 32;
    tun_v4: "tun-v4", 26;
    tun_v6: "tun-v6", 24;
}

fn replay(file: &str, left_to_the_kernel: usize) {
    let text = corpus::text(&format!("packets-{file}"));
    let (addresses, cases) = text.split_once('\n').expect("lines");
    let addresses: Addresses = serde_json::from_str(addresses).expect("addresses");
    let mut tally = Tally::default();
    let (mut frames, mut left, mut excused) = (0, 0, 0);
    for case in corpus::lines::<Case>(cases) {
        let mut history = History::of(format!("{file} {}", case.case));
        let mut lab = addresses.lab(&case.cfg);
        let different = |place: &usize| {
            DIFFERENT.iter().find_map(|(of, name, frames, why)| {
                let named = *of == file && *name == case.case && frames.contains(place);
                named.then_some(*why)
            })
        };
        let mut place = 0;
        for step in &case.steps {
            lab.wait(Duration::from_millis(50));
            let Step::Frame(frame) = step else {
                step.command(&mut lab);
                continue;
            };
            let outcome = frame.come_in(&mut lab);
            let (recorded, here) = (frame.recorded(), frame.here(&outcome));
            let is_left = outcome.explanation.verdict == "pass";
            let exception = different(&place);
            let event = format!("frame {place} {}: {}", frame.side, frame.show);
            place += 1;
            frames += 1;
            match exception {
                Some(why) if is_left || recorded != here => {
                    tally.excused(why);
                    excused += 1;
                    history.note(event);
                }
                Some(why) => {
                    let _ = history.event(event, "different", format!("as recorded, though {why}"));
                    tally.differed(history);
                    break;
                }
                None if is_left && outcome.explanation.server.is_none() => {
                    left += 1;
                    history.note(event);
                }
                None => match history.event(event, recorded, here) {
                    Ok(()) => tally.agreed(),
                    Err(Differs) => {
                        tally.differed(history);
                        break;
                    }
                },
            }
        }
    }
    let named = DIFFERENT.iter().filter(|(of, ..)| *of == file);
    let named: Vec<&str> = named.map(|(_, _, _, why)| *why).collect();
    tally.settle(frames - left - excused, &named);
    assert_eq!(left, left_to_the_kernel, "frames left to the kernel");
}

impl Step {
    fn command(&self, lab: &mut Lab) {
        if let Step::Command { ipvsadm } = self {
            lab.command(ipvsadm);
        }
    }
}

impl Addresses {
    fn lab(&self, cfg: &Configuration) -> Lab {
        let side = &self.director.server_side;
        let router = side.router_ip.iter().map(|ip| (*ip, &*side.router_mac));
        let servers = [
            (self.values.rs, &*self.server_mac),
            (self.values.rs_other, &*self.server_other_mac),
        ];
        let mut lab = Lab::new(&Place {
            sysctl: cfg.sysctl.clone(),
            mtu: Some((cfg.mtu_c, cfg.mtu_r)),
            neighbours: router.chain(servers).collect(),
            capacity: 100,
            ..Place::default()
        });
        for command in &cfg.ipvsadm {
            lab.command(command);
        }
        lab
    }
}

impl Frame {
    fn come_in(&self, lab: &mut Lab) -> Outcome {
        let side = match &*self.side {
            "c" => CLIENT_SIDE,
            _ => SERVER_SIDE,
        };
        lab.frame(side, &bytes(&self.hex))
    }

    /// What came out, a line for each frame.
    fn recorded(&self) -> String {
        let line = |out: &Out| format!("{} {}", out.side, hex(&bytes(&out.hex), &out.vary));
        self.out.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// What we sent, likewise.
    fn here(&self, outcome: &Outcome) -> String {
        let line = |(place, sent): (usize, &Sent)| {
            let side = if sent.egress == CLIENT_SIDE { "c" } else { "r" };
            let vary = self.out.get(place).map_or(&[][..], |out| &out.vary);
            format!("{side} {}", hex(&sent.bytes, vary))
        };
        let lines = outcome.sent.iter().enumerate().map(line);
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// In hexadecimal digits, with dots for the bytes at `vary`.
fn hex(bytes: &[u8], vary: &[usize]) -> String {
    let byte = |(at, byte): (usize, &u8)| match vary.contains(&at) {
        true => "..".to_owned(),
        false => format!("{byte:02x}"),
    };
    bytes.iter().enumerate().map(byte).collect()
}
