//! What Linux IPVS counted, command by command and frame by frame, and what a replay counts of the same.
//!
//! `recorded.jsonl` holds sessions of ipvsadm 1.31 on Linux 6.1: commands with what they printed, and the Ethernet frames
//! that came in between. In a frame `6162*500` stands for so many times these bytes.

use std::path::Path;
use std::process::Command;

use lb::Time;
use lb_capture::{Interface, Record, Writer};
use serde_json::Value;

const CONFIG: &str = r#"
[engine]
interfaces = ["c", "r"]
capacity = 4096

[[interface]]
name = "c"
mac = "02:00:00:00:00:c0"
addresses = ["198.18.0.1/24", "2001:db8:c::1/64"]
[[interface]]
name = "r"
mac = "02:00:00:00:00:d0"
addresses = ["10.20.0.1/16", "2001:db8:20::1/64"]

[[route]]
destination = "0.0.0.0/0"
via = "198.18.0.254"
interface = "c"
[[route]]
destination = "::/0"
via = "2001:db8:c::fe"
interface = "c"
[[neighbour]]
ip = "198.18.0.254"
mac = "02:00:00:00:0c:fe"
interface = "c"
[[neighbour]]
ip = "2001:db8:c::fe"
mac = "02:00:00:00:0c:fe"
interface = "c"
"#;

/// A command at work takes longer than this.
const MICROSECOND: u64 = 1000;

/// One recorded session.
#[derive(Default)]
struct Session {
    title: String,
    servers: Vec<String>,
    commands: String,
    /// When, on which interface, and what.
    frames: Vec<(u64, String, Vec<u8>)>,
    /// What each listing printed, and whether its order and its times may differ.
    listings: Vec<(String, String, bool)>,
    now: u64,
}

impl Session {
    fn add(&mut self, line: &Value) {
        if let Some(title) = line["title"].as_str() {
            self.title = title.to_owned();
        } else if let Some(servers) = line["setup"]["servers"].as_array() {
            let servers = servers.iter().filter_map(Value::as_str);
            self.servers = servers.map(str::to_owned).collect();
        } else if let Some(frames) = line["inject"].as_array() {
            let frames: Vec<Vec<u8>> = frames.iter().filter_map(Value::as_str).map(frame).collect();
            let interface = line["if"].as_str().expect("a name");
            for _ in 0..line["repeat"].as_u64().expect("a number") {
                for bytes in &frames {
                    self.now += MICROSECOND;
                    self.frames
                        .push((self.now, interface.to_owned(), bytes.clone()));
                }
            }
        } else if let Some(command) = line["argv"].as_str() {
            let seconds = line["t"].as_f64().expect("seconds");
            self.now = (seconds * 1e9) as u64;
            let command = format!("{seconds} {command}");
            let printed = line["stdout"].as_str().expect("text");
            if !printed.is_empty() {
                let vary = line["vary"] == "time";
                self.listings
                    .push((command.clone(), printed.to_owned(), vary));
            }
            self.commands.push_str(&command);
            self.commands.push('\n');
        }
    }

    fn config(&self) -> String {
        let neighbour = |server: &String| {
            format!(
                "[[neighbour]]\nip = \"{server}\"\nmac = \"02:00:00:00:0d:01\"\ninterface = \"r\"\n"
            )
        };
        let neighbours: String = self.servers.iter().map(neighbour).collect();
        format!("{CONFIG}{neighbours}")
    }

    fn capture(&self) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).expect("memory");
        let names = ["c", "r"];
        let places = names.map(|name| {
            let added = writer.add_interface(&Interface::ethernet(name));
            added.expect("memory")
        });
        for (time, interface, bytes) in &self.frames {
            let place = names.iter().position(|name| name == interface);
            let place = places[place.expect("c or r")];
            let record = Record::whole(place, Time::from_nanos(*time), bytes);
            writer.write(&record, None).expect("memory");
        }
        writer.into_inner()
    }

    /// What a replay prints.
    fn replay(&self, folder: &Path) -> String {
        let file = |name: &str| folder.join(name);
        std::fs::write(file("lb.toml"), self.config()).expect("written");
        std::fs::write(file("in.pcapng"), self.capture()).expect("written");
        std::fs::write(file("commands"), &self.commands).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_lbd"))
            .arg("replay")
            .args([&"--config".into(), &file("lb.toml")])
            .args([&"--in".into(), &file("in.pcapng")])
            .args([&"--out".into(), &file("out.pcapng")])
            .args([&"--commands".into(), &file("commands")])
            .output()
            .expect("lbd runs");
        assert!(output.status.success(), "{}: {output:?}", self.title);
        String::from_utf8(output.stdout).expect("text")
    }
}

fn frame(text: &str) -> Vec<u8> {
    let (head, tail) = text.split_once(' ').unwrap_or((text, ""));
    let mut bytes = hex(head);
    if let Some((pattern, count)) = tail.split_once('*') {
        bytes.extend(hex(pattern).repeat(count.parse().expect("a number")));
    }
    bytes
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// What of a listing must agree: of conns all but when they end and their order, of rates only whose they are: those
/// depend on when in its two seconds the kernel's estimator ran.
fn essence(listing: &str, command: &str, vary: bool) -> Vec<String> {
    let lines = listing
        .lines()
        .filter(|line| !line.starts_with("IP Virtual Server version"));
    let mut lines: Vec<String> = lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match &words[..] {
                _ if !vary => line.to_owned(),
                [name, of, ..] if command.contains("--rate") => format!("{name} {of}"),
                [protocol, _, rest @ ..] => format!("{protocol} {}", rest.join(" ")),
                _ => line.to_owned(),
            }
        })
        .collect();
    if vary {
        lines.sort();
    }
    lines
}

#[test]
fn a_replay_counts_what_the_kernel_counted() {
    let mut sessions: Vec<Session> = Vec::new();
    for line in include_str!("recorded.jsonl").lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        if line["title"].is_string() {
            sessions.push(Session::default());
        }
        if let Some(session) = sessions.last_mut() {
            session.add(&line);
        }
    }
    assert_eq!(sessions.len(), 4);
    let folder = tempfile::tempdir().expect("a folder");
    for session in &sessions {
        let printed = session.replay(folder.path());
        let mut rest = &printed[..];
        for (command, recorded, vary) in &session.listings {
            let heading = format!("@ {command}\n");
            rest = rest.strip_prefix(&heading[..]).unwrap_or_else(|| {
                panic!("{}: not followed by {heading}{rest}", session.title);
            });
            let end = rest.find("\n@ ").map_or(rest.len(), |at| at + 1);
            let ours = essence(&rest[..end], command, *vary);
            let kernels = essence(recorded, command, *vary);
            assert_eq!(ours, kernels, "{}: {command}", session.title);
            rest = &rest[end..];
        }
    }
}
