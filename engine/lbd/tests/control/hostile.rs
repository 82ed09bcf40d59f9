//! Clients that are slow, stuck, or want harm.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::daemon::Daemon;

/// Sends bytes as they are; what comes back until the daemon hangs up.
fn raw(daemon: &Daemon, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(daemon.socket()).expect("it listens");
    // It may hang up before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn whatever_is_sent_is_answered_or_hung_up_on_and_nothing_changes() {
    let daemon = Daemon::start();
    daemon.ipvsadm("-A -t 192.0.2.1:80 -s rr").done();
    let before = daemon.ipvsadm("-Ln").done();
    let post = |body: &str| {
        format!(
            "POST /v1/ipvsadm HTTP/1.1\r\nHost: lbd\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let long = "x".repeat(1 << 20);
    for (request, status) in [
        (post(""), "400"),
        (post("{"), "400"),
        (post("[]"), "422"),
        (post(r#"{"arguments": "-C"}"#), "422"),
        (post(r#"{"arguments": ["-C"], "more": 1}"#), "422"),
        (post(&format!(r#"{{"arguments": ["{long}"]}}"#)), "200"),
        (
            post(r#"{"arguments": ["-C"]}"#).replace("application/json", "text/plain"),
            "415",
        ),
        (
            post(r#"{"arguments": ["-C"]}"#).replace("/v1/", "/v9/"),
            "404",
        ),
        (post("{}").replace("POST", "DELETE"), "405"),
        (
            post("").replace("Content-Length: 0", "Content-Length: 99999999999"),
            "413",
        ),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "4"),
    ] {
        let answer = raw(&daemon, request.as_bytes());
        let head = answer.lines().next().unwrap_or_default();
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}\n{:.300}",
            request
        );
    }
    for garbage in [
        &b"\0\0\0\0"[..],
        b"\xff\xfe HTTP/1.1\r\n\r\n",
        &[b'x'; 100_000],
    ] {
        raw(&daemon, garbage);
    }
    assert_eq!(daemon.ipvsadm("-Ln").done(), before);
}

#[test]
fn clients_that_say_nothing_keep_nobody_waiting() {
    let daemon = Daemon::start();
    // Fewer than are served at once: the others' places are free, and these come back after a while.
    let silent: Vec<UnixStream> = (0..48)
        .map(|_| UnixStream::connect(daemon.socket()).expect("it listens"))
        .collect();
    daemon.ipvsadm("-A -t 192.0.2.1:80 -s rr").done();
    // All of them: each is hung up on, and then the next one is served.
    let more: Vec<UnixStream> = (0..48)
        .map(|_| UnixStream::connect(daemon.socket()).expect("it listens"))
        .collect();
    daemon.ipvsadm("-Ln").done();
    drop((silent, more));
}

#[test]
fn a_client_that_does_not_read_keeps_nobody_waiting() {
    let daemon = Daemon::start();
    let rules: String = (0..5_000)
        .map(|n| format!("-A -t 10.{}.{}.1:80 -s rr\n", n / 250, n % 250))
        .collect();
    daemon.ipvsadm_reading("-R", &rules).done();
    let listing = br#"{"arguments": ["-L", "-n"]}"#;
    let head = format!(
        "POST /v1/ipvsadm HTTP/1.1\r\nHost: lbd\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        listing.len()
    );
    let stuck: Vec<UnixStream> = (0..8)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.socket()).expect("it listens");
            stream.write_all(head.as_bytes()).expect("it reads");
            stream.write_all(listing).expect("it reads");
            stream
        })
        .collect();
    daemon.ipvsadm("-D -t 10.0.0.1:80").done();
    assert_eq!(daemon.ipvsadm("-Sn").done().lines().count(), 4_999);
    drop(stuck);
}

#[test]
fn two_administrators_at_once_lose_nothing() {
    let daemon = Daemon::start();
    daemon.ipvsadm("-A -t 192.0.2.1:80 -s rr").done();
    std::thread::scope(|scope| {
        for administrator in 0..2 {
            let daemon = &daemon;
            scope.spawn(move || {
                for n in 1..=40 {
                    let server = format!("10.0.{administrator}.{n}:80");
                    daemon
                        .ipvsadm(&format!("-a -t 192.0.2.1:80 -r {server} -m -w {n}"))
                        .done();
                    if n % 2 == 0 {
                        daemon
                            .ipvsadm(&format!("-d -t 192.0.2.1:80 -r {server}"))
                            .done();
                    }
                }
            });
        }
    });
    assert_eq!(daemon.ipvsadm("-Sn").done().lines().count(), 1 + 2 * 20);
}
