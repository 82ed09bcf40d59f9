//! `lbd replay` as a user runs it: a capture and commands in, a capture, listings and explanations out.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};

use lb::Time;
use lb_capture::{Interface, Reader, Record, Writer};
use lb_testkit::{PacketBuilder, pkt};

const CIP: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 7);
const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

const CONFIG: &str = r#"
[engine]
interfaces = ["c", "r"]
capacity = 1000

[[interface]]
name = "c"
mac = "02:00:00:00:00:c0"
addresses = ["198.18.0.1/24"]
[[interface]]
name = "r"
mac = "02:00:00:00:00:d0"
addresses = ["10.20.0.1/16"]

[[neighbour]]
ip = "198.18.0.7"
mac = "02:00:00:00:00:07"
interface = "c"
[[neighbour]]
ip = "10.20.0.11"
mac = "02:00:00:00:00:11"
interface = "r"
"#;

const COMMANDS: &str = "\
0.5 ipvsadm -A -t 203.0.113.5:80 -s wlc
0.5 -a -t 203.0.113.5:80 -r 10.20.0.11:8080 -m -w 3
0.5 -a -t 203.0.113.6:80 -r 10.20.0.11:8080 -m
# after the first packet, before the second
1.5 -L -n
";

fn capture(packets: &[(u64, &PacketBuilder)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).expect("memory");
    let c = writer
        .add_interface(&Interface::ethernet("c"))
        .expect("memory");
    for (seconds, packet) in packets {
        let bytes = packet.bytes();
        let time = Time::from_nanos(seconds * 1_000_000_000);
        writer
            .write(&Record::whole(c, time, &bytes), None)
            .expect("memory");
    }
    writer.into_inner()
}

fn replay(folder: &Path, capture: &[u8]) -> Output {
    let file = |name: &str| folder.join(name);
    std::fs::write(file("lb.toml"), CONFIG).expect("written");
    std::fs::write(file("in.pcapng"), capture).expect("written");
    std::fs::write(file("commands"), COMMANDS).expect("written");
    Command::new(env!("CARGO_BIN_EXE_lbd"))
        .arg("replay")
        .args([&"--config".into(), &file("lb.toml")])
        .args([&"--in".into(), &file("in.pcapng")])
        .args([&"--out".into(), &file("out.pcapng")])
        .args([&"--commands".into(), &file("commands")])
        .args([&"--explain".into(), &file("why.jsonl")])
        .output()
        .expect("lbd runs")
}

#[test]
fn a_capture_is_balanced_explained_and_listed_and_always_the_same() {
    let mac = |last| lb::Mac([2, 0, 0, 0, 0, last]);
    let ack = pkt()
        .ethernet(mac(7), mac(0xc0))
        .ipv4(CIP, VIP)
        .tcp(4000, 80);
    let syn = ack.clone().syn();
    let stranger = ack.clone().tcp(4000, 22).syn();
    let flooded = ack.clone().ethernet(mac(7), mac(0x99));
    let input = capture(&[(1, &syn), (2, &ack), (3, &stranger), (4, &flooded)]);
    let folder = tempfile::tempdir().expect("a folder");
    let output = replay(folder.path(), &input);

    // One command names a service that is not there.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = stdout.lines().collect();
    let refused = "@ 0.5 -a -t 203.0.113.6:80 -r 10.20.0.11:8080 -m: error: Service not defined";
    assert_eq!(lines[..2], [refused, "@ 1.5 -L -n"], "{stdout}");
    let server = lines
        .last()
        .expect("a server")
        .split_whitespace()
        .collect::<Vec<_>>();
    assert_eq!(
        server,
        ["->", "10.20.0.11:8080", "Masq", "3", "1", "0"],
        "{stdout}"
    );

    let why = std::fs::read_to_string(folder.path().join("why.jsonl")).expect("explained");
    let why: Vec<serde_json::Value> = why
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let conns: Vec<_> = why
        .iter()
        .map(|line| (&line["verdict"], &line["conn"], &line["out"]))
        .collect();
    let pass = serde_json::json!(["pass", "none", []]);
    let expected = serde_json::json!([["tx", "new", [0]], ["tx", "hit", [1]], pass, pass]);
    assert_eq!(serde_json::json!(conns), expected);
    assert_eq!(why[0]["server"], "10.20.0.11:8080");
    assert_eq!(why[0]["mode"], "nat");
    assert_eq!(why[2]["reason"], "not_ours");

    let first = std::fs::read(folder.path().join("out.pcapng")).expect("written");
    let mut reader = Reader::new(&first[..]).expect("a capture");
    let (record, interfaces) = reader.read_record().expect("readable").expect("a packet");
    assert_eq!(interfaces[record.interface].name.as_deref(), Some("r"));
    let translated = syn
        .ethernet(mac(0xd0), mac(0x11))
        .ipv4(CIP, Ipv4Addr::new(10, 20, 0, 11));
    assert_eq!(record.bytes, translated.tcp(4000, 8080).ttl(63).bytes());

    replay(folder.path(), &input);
    let second = std::fs::read(folder.path().join("out.pcapng")).expect("written");
    assert_eq!(first, second);
}

#[test]
fn a_broken_capture_is_named_with_its_packet() {
    let syn = pkt().ipv4(CIP, VIP).tcp(4000, 80).syn();
    let mut input = capture(&[(1, &syn), (2, &syn)]);
    input.truncate(input.len() - 10);
    let folder = tempfile::tempdir().expect("a folder");
    let output = replay(folder.path(), &input);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains("packet 1,") && stderr.matches("truncated").count() == 1,
        "{stderr}"
    );
}
