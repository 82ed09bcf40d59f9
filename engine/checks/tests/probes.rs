//! Every kind of question, put to real servers in a namespace of their own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lb_checks::{
    Check, Dns, Http, Probe, RecordType, State, StatusSet, Target, Tls, Udp, Watcher, Way,
};
use lb_model::{Endpoint, Protocol, ServiceId, ServiceKey};
use lb_testkit::netns::{Namespace, Process, Scratch, UdpServer, WebServer, available};
use tokio::net::UdpSocket;

/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

/// What is to be silent is not waited for longer.
const SOON: Duration = Duration::from_millis(200);

/// Who is asked what, and what comes of it: nothing if it is well.
type Case = (&'static str, Probe, &'static str);

fn http(tls: Option<Tls>) -> Http {
    Http {
        tls,
        path: "/".to_owned(),
        host: None,
        status: StatusSet::default(),
        body: None,
    }
}

fn page(path: &str, status: &str, body: Option<&str>) -> Probe {
    Probe::Http(Http {
        path: path.to_owned(),
        status: status.parse().expect("valid"),
        body: body.map(str::to_owned),
        ..http(None)
    })
}

fn datagram(send: &str, expect: Option<&str>) -> Probe {
    Probe::Udp(Udp {
        send: send.into(),
        expect: expect.map(Into::into),
    })
}

fn name(name: &str) -> Probe {
    Probe::Dns(Dns {
        name: name.to_owned(),
        record: RecordType::SOA,
    })
}

fn cases() -> Vec<Case> {
    let trusting = Some(Tls::default());
    let verifying = Some(Tls {
        verify: true,
        name: Some("web.example".to_owned()),
    });
    vec![
        ("127.0.0.1:8080", Probe::Tcp, ""),
        ("[::1]:8080", Probe::Tcp, ""),
        ("127.0.0.1:9", Probe::Tcp, "connection refused"),
        ("192.0.2.1:80", Probe::Tcp, "network is unreachable"),
        ("127.0.0.1:8080", page("/", "200-299", None), ""),
        ("[::1]:8080", page("/", "200", Some("web")), ""),
        (
            "127.0.0.1:8080",
            page("/", "204,300-399", None),
            "status 200, wanted 204,300-399",
        ),
        (
            "127.0.0.1:8080",
            page("/files/missing", "200-299", None),
            "status 404, wanted 200-299",
        ),
        (
            "127.0.0.1:8080",
            page("/", "200", Some("gopher")),
            "the body does not contain \"gopher\"",
        ),
        ("127.0.0.1:8443", Probe::Http(http(trusting.clone())), ""),
        (
            "127.0.0.1:8443",
            Probe::Http(http(verifying)),
            "TLS: invalid peer certificate: UnknownIssuer",
        ),
        (
            "127.0.0.1:8080",
            Probe::Http(http(trusting)),
            "TLS: received corrupt message of type InvalidContentType",
        ),
        ("127.0.0.1:53", datagram("hello", Some("udp hello")), ""),
        ("127.0.0.1:53", datagram("hello", None), ""),
        (
            "127.0.0.1:53",
            datagram("hello", Some("bye")),
            "the answer does not contain \"bye\"",
        ),
        ("127.0.0.1:54", datagram("", None), ""),
        (
            "127.0.0.1:54",
            datagram("", Some("anything")),
            "no answer within 200ms",
        ),
        ("127.0.0.1:9", datagram("", None), "connection refused"),
        ("127.0.0.1:55", name("www.example"), ""),
        ("127.0.0.1:55", name("gone.example"), "DNS: NXDOMAIN"),
        ("127.0.0.1:54", name(""), "no answer within 200ms"),
        ("127.0.0.1:0", Probe::Icmp, ""),
        ("[::1]:0", Probe::Icmp, ""),
        ("192.0.2.1:0", Probe::Icmp, "network is unreachable"),
    ]
}

#[test]
fn every_kind_of_question_gets_the_answer_that_it_should() {
    if !available() {
        return;
    }
    let scratch = Scratch::new().expect("a folder");
    let namespace = Namespace::new("probes").expect("a namespace");
    let _web = WebServer::start(&namespace, "web", 8080, &scratch).expect("nginx");
    let _tls = tls_server(&namespace, &scratch);
    let address = SocketAddr::from(([127, 0, 0, 1], 53));
    let _udp = UdpServer::start(&namespace, "udp", address).expect("a server");
    let told = namespace.run(|| run(ask_all(cases(), None)));
    for (at, (address, probe, expected)) in cases().into_iter().enumerate() {
        assert_eq!(told[&at], expected, "{address}: {probe:?}");
    }
}

#[test]
fn questions_come_from_the_address_that_they_should() {
    if !available() {
        return;
    }
    let namespace = Namespace::new("sources").expect("a namespace");
    let source = |text: &str| Some(text.parse::<IpAddr>().expect("valid"));
    let ask = |source| {
        let cases = vec![
            ("127.0.0.1:60", Probe::Tcp, ""),
            ("127.0.0.1:60", datagram("", Some("127.0.0.9")), ""),
            ("127.0.0.1:60", Probe::Icmp, ""),
        ];
        let told = namespace.run(|| run(ask_all(cases, source)));
        told.into_values().collect::<Vec<_>>()
    };
    assert_eq!(ask(source("127.0.0.9")), ["", "", ""]);
    let absent = "192.0.2.9: cannot assign requested address";
    assert_eq!(ask(source("192.0.2.9")), [absent; 3]);
    let other = "the source ::1 is of another address family";
    assert_eq!(ask(source("::1")), [other; 3]);
}

/// The answers by the numbers of the cases: nothing for a good one, or why it is bad.
async fn ask_all(cases: Vec<Case>, source: Option<IpAddr>) -> BTreeMap<usize, String> {
    for port in [54, 55, 60] {
        let socket = UdpSocket::bind(("127.0.0.1", port))
            .await
            .expect("a socket");
        tokio::spawn(serve(socket, port));
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 60)).await;
    let _listener = listener.expect("a socket");
    let mut watcher = Watcher::new();
    let targets = cases
        .iter()
        .enumerate()
        .map(|(at, (address, probe, expected))| {
            let silent = expected.contains("within")
                || matches!(probe, Probe::Udp(Udp { expect: None, .. }));
            Target {
                service: service(at),
                server: address.parse().expect("valid"),
                part: 0,
                way: Way::Own,
                initial: State::Up,
                check: Arc::new(Check {
                    interval: Duration::from_millis(50),
                    timeout: if silent { SOON } else { LIMIT },
                    source,
                    ..Check::new(probe.clone())
                }),
            }
        });
    watcher.watch(targets.collect());
    let mut told = BTreeMap::new();
    while told.len() < cases.len() {
        let found = watcher.next().await;
        let at = (0..cases.len()).find(|at| service(*at) == found.service);
        let answer = found
            .answer
            .err()
            .map_or(String::new(), |why| why.to_string());
        told.entry(at.expect("a case")).or_insert(answer);
    }
    told
}

fn service(number: usize) -> ServiceId {
    let addr = IpAddr::from([10, 0, 0, number as u8]).into();
    let vip = Endpoint::new(addr, 80);
    let protocol = Protocol::Tcp;
    ServiceKey { vip, protocol }.into()
}

/// Port 54 says nothing, 55 knows every name but those that begin with `gone`, 60 says who asks.
async fn serve(socket: UdpSocket, port: u16) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let message = &mut buffer[..length];
        let answer = match port {
            55 => {
                let gone = message.windows(4).any(|window| window == b"gone");
                message[2] |= 0x80;
                message[3] = if gone { 3 } else { 0 };
                message.to_vec()
            }
            60 => from.ip().to_string().into_bytes(),
            _ => continue,
        };
        let sent = socket.send_to(&answer, from).await;
        sent.expect("loopback takes it");
    }
}

/// OpenSSL's own web server, with a certificate that nobody has signed.
fn tls_server(namespace: &Namespace, scratch: &Scratch) -> Process {
    let [key, certificate] = ["key", "certificate"].map(|name| scratch.path().join(name));
    let mut make = Command::new("openssl");
    make.args(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '),
    );
    make.args([
        "-subj",
        "/CN=web.example",
        "-addext",
        "subjectAltName=DNS:web.example",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    make.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    namespace.check_output(make).expect("openssl");
    let mut serve = Command::new("openssl");
    serve.args(["s_server", "-accept", "8443", "-www"]);
    serve.arg("-key").arg(&key).arg("-cert").arg(&certificate);
    let mut server = namespace.spawn(serve).expect("openssl");
    server.wait_for("ACCEPT", LIMIT).expect("it listens");
    server
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}
