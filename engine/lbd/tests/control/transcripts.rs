//! Sessions of ipvsadm 1.31 on Linux 6.1, typed again: output, errors and exit codes.
//!
//! `tests/golden/ipvsadm.xz` has them as they were recorded.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use lb_testkit::netns::{End, Namespace, available, veth};
use serde_json::{Value, json};

use crate::daemon::Daemon;

/// A session's commands, in order.
type Session = Vec<Value>;

#[test]
fn what_was_recorded_of_ipvsadm_is_answered_in_the_same_words() {
    if !available() {
        return;
    }
    let namespace = Namespace::new("recorded").expect("a namespace");
    // The recordings' synchronisation daemons use these.
    let ends = ["eth0", "eth1"].map(|name| End::new(&namespace, name));
    veth(ends[0], ends[1], 1).expect("a veth pair");
    let (mut commands, mut differing) = (0, Vec::new());
    for session in sessions() {
        let daemon = namespace.run(Daemon::start);
        for step in &session {
            commands += 1;
            if let Some(difference) = difference(&daemon, step) {
                differing.push(difference);
            }
        }
    }
    assert!(commands > 1_500, "{commands}");
    let shown = &differing[..differing.len().min(20)];
    let count = differing.len();
    assert!(
        differing.is_empty(),
        "{count} of {commands}:\n{}",
        shown.join("\n")
    );
}

fn sessions() -> Vec<Session> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ipvsadm.xz");
    let packed = std::fs::read(file).expect("it is there");
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut &packed[..], &mut text).expect("it is whole");
    let mut sessions: Vec<Session> = Vec::new();
    for line in String::from_utf8(text).expect("text").lines() {
        let step: Value = serde_json::from_str(line).expect("JSON");
        if step.get("title").is_some() {
            sessions.push(Session::new());
        } else if step.get("argv").is_some() {
            let session = sessions.last_mut().expect("a title comes first");
            session.push(step);
        }
    }
    sessions
}

/// What differs from the recording, if anything does.
fn difference(daemon: &Daemon, step: &Value) -> Option<String> {
    let words: Vec<&str> = step["argv"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let input = step["stdin"].as_str().unwrap_or_default();
    let (output, errors, code) = answer(daemon, &words[1..], input);
    let text = |key: &str| step[key].as_str().unwrap_or_default();
    let wanted = (
        comparable(text("stdout"), step),
        text("stderr"),
        step["rc"].as_u64(),
    );
    let got = (comparable(&output, step), errors.as_str(), code);
    (wanted != got).then(|| format!("{words:?}\n  want {wanted:?}\n  got  {got:?}"))
}

/// The listing without what a recording cannot fix.
fn comparable<'a>(output: &'a str, step: &Value) -> Vec<&'a str> {
    let vary = |at: usize| {
        let lines = step["vary_lines"].as_array();
        lines.is_some_and(|lines| lines.iter().any(|line| line.as_u64() == Some(at as u64)))
    };
    let lines = output.split('\n').enumerate();
    let mut lines: Vec<&str> = lines
        .filter(|(at, line)| !line.starts_with("IP Virtual Server version") && !vary(*at))
        .map(|(_, line)| line)
        .collect();
    if step.get("vary").is_some() {
        lines.sort_unstable();
    }
    lines
}

/// What a command prints, complains of, and ends with; asked for without the cost of a program for each.
fn answer(daemon: &Daemon, words: &[&str], input: &str) -> (String, String, Option<u64>) {
    let body = json!({ "arguments": words, "input": input }).to_string();
    let head = format!(
        "POST /v1/ipvsadm HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = UnixStream::connect(daemon.socket()).expect("it listens");
    stream
        .write_all((head + &body).as_bytes())
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, lines) = answer.split_once("\r\n\r\n").expect("a head");
    let (mut output, mut errors, mut code) = (String::new(), String::new(), None);
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        output += line["output"].as_str().unwrap_or_default();
        errors += line["errors"].as_str().unwrap_or_default();
        code = code.or(line["exit"].as_u64());
    }
    (output, errors, code)
}
