//! The program in the kernel, over frames by hand.

mod cases;
mod frames;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use lb_model::{Addr, Endpoint, MarkRule, Prefix, Protocol, ServiceKey};
use libbpf_rs::libbpf_sys::{XDP_PASS, XDP_REDIRECT};
use libbpf_rs::{ErrorKind, ProgramInput};

use super::*;
use crate::marked;
use cases::cases;
use frames::*;

/// An AF_XDP socket that is bound to nothing: enough for the program to redirect to in a test run.
fn unbound_socket() -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: plain socket(2); the descriptor is checked, and ours alone.
    #[allow(unsafe_code)]
    unsafe {
        match libc::socket(libc::AF_XDP, libc::SOCK_RAW, 0) {
            fd if fd < 0 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

#[test]
fn only_packets_to_services_and_replies_of_servers_leave_the_kernel() {
    let mut storage = MaybeUninit::uninit();
    let (maps, program) = match load(&mut storage, 1) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let required = std::env::var_os("LB_REQUIRE_NETNS").is_some();
            assert!(!required, "eBPF needs root: {error}");
            println!("SKIPPED: eBPF needs root: {error}");
            return;
        }
        loaded => loaded.expect("the kernel takes the program"),
    };
    let socket = unbound_socket().expect("a socket");
    maps.set_socket(0, socket.as_fd()).expect("a queue 0");
    maps.set_own_mac(OWN).expect("a MAC");
    let vip = ServiceKey {
        vip: Endpoint::new(Addr::v4(VIP), 80),
        protocol: Protocol::Tcp,
    };
    let rip = Endpoint::new(Addr::v4(RIP), 8080);
    let vip6 = ServiceKey {
        vip: Endpoint::new(Addr::v6(v6(100)), 80),
        protocol: Protocol::Tcp,
    };
    let every_port = ServiceKey {
        vip: Endpoint::new(Addr::v4([10, 0, 0, 101]), 0),
        protocol: Protocol::Udp,
    };
    let mark = |addr, len, protocol, ports| MarkRule {
        mark: 7,
        destination: Prefix::new(addr, len),
        protocol: Some(protocol),
        ports: Some(ports),
    };
    let net = Addr::v4([198, 51, 100, 7]);
    let marks = [
        mark(net, 24, Protocol::Tcp, 80..=90),
        mark(net, 32, Protocol::Udp, 53..=53),
        mark(Addr::v6([0; 16]), 0, Protocol::Udp, 8..=8),
    ];
    let rip6 = Endpoint::new(Addr::v6(v6(7)), 8080);
    for rule in [
        Rule::Service(vip6, 0),
        Rule::Server(rip6, Protocol::Tcp),
        Rule::Local(Addr::v6(v6(1))),
        Rule::Service(vip, 0),
        Rule::Server(rip, Protocol::Tcp),
        Rule::Local(Addr::v4(DIP)),
        Rule::LocalAddress(Addr::v4(LIP), 1024..=2000),
        Rule::Local(Addr::v4(LIP)),
        Rule::Service(every_port, 0),
        Rule::FragmentsTo(Addr::v4(VIP)),
        Rule::FragmentsTo(Addr::v6(v6(100))),
        Rule::FragmentsFrom(Addr::v4(RIP)),
        Rule::Server(Endpoint::new(Addr::v4([10, 1, 0, 8]), 0), Protocol::Tcp),
        Rule::Peer(Mac([2, 0, 0, 0, 0, PEER])),
    ]
    .into_iter()
    .chain(
        marked(marks.iter())
            .into_iter()
            .map(|(prefix, ports)| Rule::Marked(prefix, ports)),
    ) {
        maps.add(&rule).expect("room for a rule");
    }

    let cases = cases();
    let (mut redirected, total) = (0, cases.len() as u64);
    for (name, bytes, ours) in cases {
        let input = ProgramInput {
            data_in: Some(&bytes),
            ..ProgramInput::default()
        };
        let output = program.progs.steer.test_run(input).expect("a test run");
        let expected = if ours { XDP_REDIRECT } else { XDP_PASS };
        assert_eq!(output.return_value, expected, "{name}");
        redirected += u64::from(ours);
    }
    assert_eq!(maps.sum(COUNTER_REDIRECTED).ok(), Some(redirected));
    assert_eq!(maps.sum(COUNTER_PASSED).ok(), Some(total - redirected));

    maps.remove(&Rule::Service(vip, 0)).expect("it was there");
    let bytes = frame((CIP, 4000), (VIP, 80), TCP, 20);
    let input = ProgramInput {
        data_in: Some(&bytes),
        ..ProgramInput::default()
    };
    let output = program.progs.steer.test_run(input).expect("a test run");
    assert_eq!(output.return_value, XDP_PASS, "service removed");
}

#[test]
fn frames_of_a_service_that_wants_room_get_it_marked_and_the_kernel_gets_them_whole() {
    let mut storage = MaybeUninit::uninit();
    let (maps, program) = match load(&mut storage, 1) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!("SKIPPED: eBPF needs root: {error}");
            return;
        }
        loaded => loaded.expect("the kernel takes the program"),
    };
    maps.set_own_mac(OWN).expect("a MAC");
    let key = ServiceKey {
        vip: Endpoint::new(Addr::v4(VIP), 80),
        protocol: Protocol::Tcp,
    };
    maps.add(&Rule::Service(key, 32)).expect("room for a rule");
    let request = frame((CIP, 4000), (VIP, 80), TCP, 20);
    let run = || {
        let mut out = vec![0; 256];
        let output = program
            .progs
            .steer
            .test_run(ProgramInput {
                data_in: Some(&request),
                data_out: Some(&mut out),
                ..ProgramInput::default()
            })
            .expect("it runs");
        let len = output.data.expect("data").len();
        (output.return_value, out[..len].to_vec())
    };
    assert_eq!(run(), (XDP_PASS, request.clone()), "no socket yet");

    let socket = unbound_socket().expect("a socket");
    maps.set_socket(0, socket.as_fd()).expect("a queue 0");
    let (action, out) = run();
    assert_eq!((action, out.len()), (XDP_REDIRECT, 32 + request.len()));
    assert_eq!(out[..2], [ROOM_MARK, 32]);
    assert_eq!(out[32..], request);
}
