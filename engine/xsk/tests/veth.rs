//! Ports on real interfaces: a client and a server, each in a namespace of its own, and between them a balancer with
//! AF_XDP sockets on both of its veth devices.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use lb_model::{BATCH, Batch, Frame, InterfaceId, Mac, Port, Protocol, ServiceKey};
use lb_testkit::netns::{End, LineServer, Namespace, available, ping, tcp_exchange, veth};
use lb_xsk::{Rules, Xsk, XskConfig, XskError, XskPort, queue_count};

const VIP: &str = "10.99.0.1";
const SERVICE: &str = "10.99.0.1:9";
const BALANCER: &str = "10.77.0.2";
const IN: InterfaceId = InterfaceId(0);
const OUT: InterfaceId = InterfaceId(1);

/// When a test gives up waiting; none waits that long when all is well.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_burst_received_on_one_interface_leaves_on_the_other_with_one_flush() {
    /// More than one wake-up sends, however far the kernel lets us raise that.
    const BURST: usize = 600;
    let Some(wire) = Wire::new(1) else { return };
    wire.server
        .ip(&format!("address add {VIP}/32 dev lo"))
        .expect("the VIP");
    let to = mac(&wire.server, "wire0");
    let received = wire.server.run(|| udp_socket(SERVICE));
    let mut xsk = wire.open();
    let mut port = xsk.ports.remove(0);

    wire.send(b"burst", BURST);
    let mut held = Vec::new();
    wait_until("the burst is received", || {
        receive_into(&mut port, &mut held);
        held.len() == BURST
    });
    assert_eq!(port.census().held, BURST as u64);
    for mut frame in held {
        frame.bytes_mut()[..6].copy_from_slice(&to.0);
        port.transmit(OUT, frame).expect("the ring has room for it");
    }
    port.flush();

    let mut buffer = [0; 16];
    for number in 0..BURST {
        let len = received
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("datagram {number}: {error}"));
        assert_eq!(&buffer[..len], b"burst");
    }
    let steered = xsk.control.steered().expect("counters");
    assert_eq!(steered[0].redirected, BURST as u64);
    drop(xsk.control);
    let census = port.close();
    assert!(census.is_conserved(), "{census:?}");
    assert_eq!((census.held, census.transmitting), (0, 0), "{census:?}");
}

#[test]
fn what_is_not_ours_stays_with_the_kernel() {
    let Some(wire) = Wire::new(1) else { return };
    wire.own_vip();
    let ssh = format!("{BALANCER}:22").parse().expect("an address");
    let _ssh_server = LineServer::start(&wire.balancer, ssh).expect("a server");
    let xsk = wire.open();
    assert_eq!(ping(&wire.client, ip(BALANCER), 3).expect("ping"), 3);
    assert_eq!(ping(&wire.client, ip(VIP), 3).expect("ping"), 3);
    tcp_exchange(&wire.client, ssh, 100).expect("an undisturbed session");
    let steered = xsk.control.steered().expect("counters");
    assert_eq!(steered[0].redirected, 0);
    assert!(steered[0].passed > 100, "{steered:?}");
}

#[test]
fn a_punted_packet_is_received_by_the_kernel() {
    let Some(wire) = Wire::new(1) else { return };
    wire.own_vip();
    let received = wire.balancer.run(|| udp_socket(SERVICE));
    let mut xsk = wire.open();
    assert!(xsk.control.tap_name().is_some());
    let mut port = xsk.ports.remove(0);
    wire.send(b"not yours", 1);
    let mut held = Vec::new();
    wait_until("it is steered to us", || {
        receive_into(&mut port, &mut held);
        !held.is_empty()
    });
    port.punt(IN, held.remove(0)).expect("the kernel takes it");
    let mut buffer = [0; 16];
    let (len, from) = received.recv_from(&mut buffer).expect("a datagram");
    assert_eq!(&buffer[..len], b"not yours");
    assert_eq!(from.ip(), ip("10.77.0.1"));
    assert_eq!(port.census().held, 0);
}

#[test]
fn a_frame_with_room_in_front_is_whole_wherever_it_goes() {
    const ROOM: u8 = 32;
    let Some(wire) = Wire::new(1) else { return };
    wire.server
        .ip(&format!("address add {VIP}/32 dev lo"))
        .expect("the VIP");
    let to = mac(&wire.server, "wire0");
    let beyond = wire.server.run(|| udp_socket(SERVICE));
    let mut xsk = wire.open();
    xsk.control
        .set_rules(&rules_with_room(ROOM))
        .expect("rules");
    let mut port = xsk.ports.remove(0);
    let receive = |port: &mut XskPort| {
        wire.send(b"whole", 1);
        let mut held = Vec::new();
        wait_until("it is steered to us", || {
            receive_into(port, &mut held);
            !held.is_empty()
        });
        held.remove(0)
    };

    // The room is there, and what was not put into it is not sent.
    let mut unused = receive(&mut port);
    unused.bytes_mut()[..6].copy_from_slice(&to.0);
    let whole = unused.bytes().to_vec();
    port.transmit(OUT, unused)
        .expect("the ring has room for it");
    port.flush();
    let mut buffer = [0; 16];
    assert_eq!(beyond.recv(&mut buffer).expect("a datagram"), 5);

    // A frame that has grown by all of it is sent from there: with its Ethernet header moved, the rest follows as it was.
    let mut used = receive(&mut port);
    assert!(!used.grow_front(usize::from(ROOM) + 1) && used.grow_front(usize::from(ROOM)));
    used.bytes_mut()[..whole.len()].copy_from_slice(&whole);
    assert!(used.resize(whole.len()));
    port.transmit(OUT, used).expect("the ring has room for it");
    port.flush();
    assert_eq!(beyond.recv(&mut buffer).expect("a datagram"), 5);

    wire.own_vip();
    let served = wire.balancer.run(|| udp_socket(SERVICE));
    let punted = receive(&mut port);
    port.punt(IN, punted).expect("the kernel takes it");
    assert_eq!(served.recv(&mut buffer).expect("a datagram"), 5);
    assert_eq!(&buffer[..5], b"whole");
    drop(xsk.control);
    let census = port.close();
    assert!(census.is_conserved(), "{census:?}");
}

#[test]
fn without_a_tap_a_punted_frame_comes_back() {
    let Some(wire) = Wire::new(1) else { return };
    let config = XskConfig {
        tap: None,
        ..wire.config()
    };
    let mut xsk = wire.balancer.run(|| Xsk::open(&config)).expect("opened");
    xsk.control.set_rules(&rules()).expect("rules");
    let mut port = xsk.ports.remove(0);
    wire.send(b"stuck", 1);
    let mut held = Vec::new();
    wait_until("it is steered to us", || {
        receive_into(&mut port, &mut held);
        !held.is_empty()
    });
    let frame = port.punt(IN, held.remove(0)).expect_err("no way back");
    port.release(frame);
    assert_eq!(port.census().held, 0);
}

#[test]
fn rules_change_while_traffic_flows() {
    let Some(wire) = Wire::new(1) else { return };
    wire.own_vip();
    let received = wire.balancer.run(|| udp_socket(SERVICE));
    let mut xsk = wire.open();
    let control = &mut xsk.control;
    let ours = |control: &lb_xsk::Control| control.steered().expect("counters")[0].redirected;
    wire.send(b"ours", 1);
    wait_until("it is steered to us", || ours(control) == 1);
    control.set_rules(&Rules::default()).expect("no rules");
    wire.send(b"theirs", 1);
    let mut buffer = [0; 16];
    let len = received.recv(&mut buffer).expect("a datagram");
    assert_eq!(&buffer[..len], b"theirs");
    control.set_rules(&rules()).expect("rules");
    wire.send(b"ours", 1);
    wait_until("it is steered to us again", || ours(control) == 2);
}

#[test]
fn a_second_balancer_on_an_interface_is_told_why_not() {
    let Some(wire) = Wire::new(1) else { return };
    let _first = wire.open();
    let second = wire.balancer.run(|| Xsk::open(&wire.config()));
    let error = second.err().expect("refused").to_string();
    assert!(
        error.starts_with("another XDP program is attached to in0: see `ip link show dev in0`"),
        "{error}"
    );
}

#[test]
fn an_interface_can_be_opened_again_at_once() {
    let Some(wire) = Wire::new(1) else { return };
    for _ in 0..3 {
        let xsk = wire.open();
        assert_eq!(xsk.queues.len(), 2);
    }
}

#[test]
fn a_program_started_meanwhile_does_not_keep_an_interface() {
    let Some(wire) = Wire::new(1) else { return };
    let xsk = wire.open();
    let mut child = Command::new("sleep").arg("100").spawn().expect("a child");
    drop(xsk);
    drop(wire.open());
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn a_killed_process_leaves_its_traffic_to_the_kernel() {
    let Some(wire) = Wire::new(1) else { return };
    wire.own_vip();
    let received = wire.balancer.run(|| udp_socket(SERVICE));
    let mut holder = Command::new(std::env::current_exe().expect("this test"));
    holder.args(["--ignored", "--exact", "--nocapture", HOLDER]);
    holder.env(HOLD, "1");
    let mut holder = wire.balancer.spawn(holder).expect("started");
    holder.wait_for("holding", LIMIT).expect("it attaches");
    let link = wire.balancer.ip("link show dev in0").expect("the link");
    assert!(link.contains(" xdp "), "{link}");
    wire.send(b"taken", 1);
    holder.wait_for("took one", LIMIT).expect("it takes it");

    // SIGKILL: nothing of the process runs any more.
    drop(holder);
    received
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a time-out");
    let mut buffer = [0; 16];
    let mut len = 0;
    wait_until("the kernel receives", || {
        wire.send(b"passed", 1);
        len = received.recv(&mut buffer).unwrap_or(0);
        len > 0
    });
    assert_eq!(&buffer[..len], b"passed");
    let link = wire.balancer.ip("link show dev in0").expect("the link");
    assert!(!link.contains("xdp"), "{link}");
}

const HOLDER: &str = "take_everything_until_killed";
const HOLD: &str = "LB_XSK_TEST_HOLD";

/// The process that the test above kills.
#[test]
#[ignore = "the process that a_killed_process_leaves_its_traffic_to_the_kernel runs and kills, and no test of its own"]
fn take_everything_until_killed() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let mut xsk = Xsk::open(&XskConfig {
        interfaces: vec!["in0".to_owned(), "out0".to_owned()],
        ..XskConfig::default()
    })
    .expect("opened");
    xsk.control.set_rules(&rules()).expect("rules");
    println!("holding");
    let mut port = xsk.ports.remove(0);
    let mut batch = Batch::new();
    loop {
        port.receive(&mut batch);
        for packet in batch.drain() {
            port.release(packet.frame);
            println!("took one");
        }
        port.wait(LIMIT);
    }
}

#[test]
fn queues_are_shared_out_to_workers() {
    let Some(wire) = Wire::new(2) else { return };
    let opened = |workers| {
        let config = XskConfig {
            workers,
            ..wire.config()
        };
        wire.balancer.run(|| Xsk::open(&config))
    };
    assert_eq!(wire.balancer.run(|| queue_count("in0")).ok(), Some(2));

    let xsk = opened(None).expect("opened");
    assert_eq!(xsk.ports.len(), 2);
    let workers: Vec<_> = xsk.queues.iter().map(|q| (q.queue, q.worker)).collect();
    assert_eq!(workers, [(0, 0), (1, 1), (0, 0), (1, 1)]);
    drop(xsk);

    let mut xsk = opened(Some(1)).expect("opened");
    assert_eq!((xsk.ports.len(), xsk.queues.len()), (1, 4));
    xsk.control.set_rules(&rules()).expect("rules");
    let mut port = xsk.ports.remove(0);
    // Each sender is hashed to one of the queues; these many go to both.
    const SENDERS: usize = 64;
    for _ in 0..SENDERS {
        wire.send(b"x", 1);
    }
    let mut held = Vec::new();
    wait_until("all queues are read", || {
        receive_into(&mut port, &mut held);
        held.len() == SENDERS
    });
    held.into_iter().for_each(|frame| port.release(frame));
    let census = port.close();
    assert!(census.is_conserved() && census.held == 0, "{census:?}");
    drop(xsk.control);

    let error = opened(Some(3)).err().expect("refused").to_string();
    assert!(
        error.starts_with("workers: 3, allowed: 1..=2, the queues of in0"),
        "{error}"
    );
}

#[test]
fn a_full_transmit_ring_gives_the_frame_back_and_loses_none() {
    let Some(wire) = Wire::new(1) else { return };
    const RING: usize = 64;
    let config = XskConfig {
        ring_size: RING as u32,
        frames_per_queue: 4 * RING as u32,
        ..wire.config()
    };
    let mut xsk = wire.balancer.run(|| Xsk::open(&config)).expect("opened");
    xsk.control.set_rules(&rules()).expect("rules");
    let mut port = xsk.ports.remove(0);
    let mut held = Vec::new();
    wait_until("more frames than the ring takes", || {
        wire.send(b"x", RING);
        receive_into(&mut port, &mut held);
        held.len() > RING
    });
    let sent = held.len();
    let refused: Vec<_> = held
        .into_iter()
        .filter_map(|frame| port.transmit(OUT, frame).err())
        .collect();
    assert_eq!(refused.len(), sent - RING);
    assert!(port.census().is_conserved());
    port.flush();
    for frame in refused {
        port.transmit(OUT, frame).expect("the flush made room");
    }
    drop(xsk.control);
    let census = port.close();
    assert!(census.is_conserved(), "{census:?}");
    assert_eq!((census.held, census.transmitting), (0, 0), "{census:?}");
}

#[test]
fn a_frame_that_is_not_given_back_shows_in_the_census_and_stays_usable() {
    let Some(wire) = Wire::new(1) else { return };
    let mut xsk = wire.open();
    let mut port = xsk.ports.remove(0);
    wire.send(b"kept", 1);
    let mut held = Vec::new();
    wait_until("it is received", || {
        receive_into(&mut port, &mut held);
        !held.is_empty()
    });
    drop(xsk);
    let census = port.close();
    assert!(census.is_conserved(), "{census:?}");
    assert_eq!(census.held, 1);
    let payload = held[0].bytes();
    assert_eq!(&payload[14 + 20 + 8..14 + 20 + 8 + 4], b"kept");
}

#[test]
fn an_mtu_that_does_not_fit_is_refused_by_name() {
    let Some(wire) = Wire::new(1) else { return };
    wire.balancer
        .ip("link set out0 mtu 3000")
        .expect("veth takes it");
    let refused = wire.balancer.run(|| Xsk::open(&wire.config()));
    assert!(
        matches!(&refused, Err(XskError::Mtu { interface, mtu: 3000, .. }) if interface == "out0"),
        "{:?}",
        refused.err()
    );
    let config = XskConfig {
        frame_size: 4096,
        ..wire.config()
    };
    wire.balancer.run(|| Xsk::open(&config)).expect("it fits");
}

#[test]
fn steering_starts_with_nothing_and_ends_with_the_control() {
    let Some(wire) = Wire::new(1) else { return };
    let xsk = wire
        .balancer
        .run(|| Xsk::open(&wire.config()))
        .expect("opened");
    wire.send(b"x", 1);
    wait_until("the kernel has it", || {
        xsk.control.steered().expect("counters")[0].passed > 0
    });
    let steered = xsk.control.steered().expect("counters");
    assert!(steered.iter().all(|s| s.redirected == 0), "{steered:?}");
    let Xsk { ports, control, .. } = xsk;
    drop(control);
    let link = wire.balancer.ip("link show dev in0").expect("the link");
    assert!(!link.contains("xdp"), "{link}");
    drop(ports);
}

/// client (wire0) - (in0) balancer (out0) - (wire0) server; the client reaches the VIP through the balancer.
struct Wire {
    client: Namespace,
    balancer: Namespace,
    server: Namespace,
}

impl Wire {
    /// `None`, and the test is skipped, where namespaces or AF_XDP are not to be had.
    fn new(queues: u32) -> Option<Wire> {
        if !available() {
            return None;
        }
        let [client, balancer, server] =
            ["client", "balancer", "server"].map(|name| Namespace::new(name).expect("a namespace"));
        for (namespace, name) in [(&client, "in0"), (&server, "out0")] {
            veth(
                End::new(namespace, "wire0"),
                End::new(&balancer, name),
                queues,
            )
            .expect("a veth pair");
        }
        // Known beforehand, or the kernel would drop most of a burst while it asks.
        let neighbour = format!(
            "neighbour add {BALANCER} lladdr {} dev wire0",
            mac(&balancer, "in0")
        );
        for (namespace, command) in [
            (&client, "address add 10.77.0.1/24 dev wire0"),
            (&balancer, "address add 10.77.0.2/24 dev in0"),
            (&client, "route add 10.99.0.0/24 via 10.77.0.2"),
            (&client, &neighbour),
        ] {
            namespace.ip(command).expect("addresses and routes");
        }
        Some(Wire {
            client,
            balancer,
            server,
        })
    }

    fn config(&self) -> XskConfig {
        XskConfig {
            interfaces: vec!["in0".to_owned(), "out0".to_owned()],
            ..XskConfig::default()
        }
    }

    /// Both interfaces open, and the service steered to the port.
    fn open(&self) -> Xsk {
        let opened = self.balancer.run(|| Xsk::open(&self.config()));
        let mut xsk = opened.unwrap_or_else(|error| panic!("{error}"));
        xsk.control.set_rules(&rules()).expect("rules");
        xsk
    }

    /// Makes the VIP an address of the balancer itself.
    fn own_vip(&self) {
        self.balancer
            .ip(&format!("address add {VIP}/32 dev lo"))
            .expect("the VIP");
    }

    /// Sends datagrams from the client to the service.
    fn send(&self, payload: &[u8], count: usize) {
        self.client.run(|| {
            let socket = udp_socket("0.0.0.0:0");
            // No checksum rather than one that the device would have to complete: nobody here does.
            set_option(&socket, libc::SO_NO_CHECK, 1);
            for _ in 0..count {
                socket.send_to(payload, SERVICE).expect("sent");
            }
        });
    }
}

fn rules() -> Rules {
    rules_with_room(0)
}

fn rules_with_room(room: u8) -> Rules {
    let key = ServiceKey {
        vip: SERVICE.parse().expect("an endpoint"),
        protocol: Protocol::Udp,
    };
    Rules {
        services: BTreeMap::from([(key, room)]),
        ..Rules::default()
    }
}

/// A socket with room for a burst, that gives up in the end.
fn udp_socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("bound");
    socket.set_read_timeout(Some(LIMIT)).expect("a time-out");
    set_option(&socket, libc::SO_RCVBUFFORCE, 16 << 20);
    socket
}

fn set_option(socket: &UdpSocket, option: i32, value: i32) {
    // SAFETY: `value` is as long as said and outlives the call.
    #[allow(unsafe_code)]
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
}

fn receive_into(port: &mut XskPort, held: &mut Vec<Frame>) {
    let mut batch = Batch::new();
    port.receive(&mut batch);
    assert!(batch.len() <= BATCH);
    held.extend(batch.drain().map(|packet| {
        assert_eq!(packet.ingress, IN);
        packet.frame
    }));
}

fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !happened() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn mac(namespace: &Namespace, interface: &str) -> Mac {
    let link = namespace
        .ip(&format!("-oneline link show dev {interface}"))
        .expect("the link");
    let mac = link.split_once("link/ether ").and_then(|(_, rest)| {
        let word = rest.split_whitespace().next()?;
        word.parse().ok()
    });
    mac.unwrap_or_else(|| panic!("no MAC in {link}"))
}

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().expect("an address")
}
