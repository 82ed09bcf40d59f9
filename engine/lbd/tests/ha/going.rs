//! What the machine says to clients while lbd goes from it.
//!
//! ```text
//!  client ──┤   ├── node     lbd; the VIP is on lbd's own device, lbd0
//!           │   ├── server   DR
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lb_testkit::netns::{Namespace, UdpServer, available};

use crate::node::Node;
use crate::segment::{both, connect, hold};

const CLIENT: u8 = 1;
const NODE: u8 = 11;
const SERVER: u8 = 21;
/// A net that is nowhere.
const ANYCAST: u8 = 9;
const VIP: u8 = 100;
const PORT: u16 = 7;
/// So many come within the time that the device takes to go.
const EVERY: Duration = Duration::from_micros(200);
/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

/// What a client got that kept sending datagrams.
#[derive(Default)]
struct Got {
    answers: AtomicU64,
    /// How often the kernel of the node said that nobody is there. It would reset connections in that time.
    refusals: AtomicU64,
}

impl Got {
    /// Sends datagrams to `vip` until `end`.
    fn keep_sending(&self, client: &Namespace, vip: SocketAddr, end: &AtomicBool) {
        let any: IpAddr = match vip {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = client.run(|| UdpSocket::bind((any, 0))).expect("a socket");
        socket.connect(vip).expect("a way there");
        socket.set_nonblocking(true).expect("a socket");
        let mut buffer = [0; 64];
        while !end.load(Ordering::Relaxed) {
            let sent = socket.send(b"there?");
            let refused = |done: &io::Result<usize>| matches!(done, Err(e) if e.kind() == io::ErrorKind::ConnectionRefused);
            let received = socket.recv(&mut buffer);
            if received.is_ok() {
                self.answers.fetch_add(1, Ordering::Relaxed);
            }
            let refusals = u64::from(refused(&sent)) + u64::from(refused(&received));
            self.refusals.fetch_add(refusals, Ordering::Relaxed);
            thread::sleep(EVERY);
        }
    }

    fn wait_for_answers(&self, count: u64) {
        let goal = self.answers.load(Ordering::Relaxed) + count;
        let end = Instant::now() + LIMIT;
        while self.answers.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < end, "nobody answers");
            thread::sleep(EVERY);
        }
    }
}

/// What makes lbd go from a node.
type Going = fn(&mut Node);

/// Ends the senders when it goes, also if that is because the test has failed.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn config() -> String {
    let services = both(ANYCAST, VIP).into_iter().zip(both(0, SERVER));
    let services = services.map(|(vip, rip)| {
        let (vip, rip) = (SocketAddr::new(vip, PORT), SocketAddr::new(rip, PORT));
        format!(
            "[[service]]\nvip = \"{vip}\"\nprotocol = \"udp\"\nscheduler = \"rr\"\nmode = \"dr\"\n\
             vip_interface = \"lbd0\"\n[[service.server]]\nrip = \"{rip}\"\n"
        )
    });
    let engine = "[engine]\ninterfaces = [\"eth0\"]\ncapacity = 1000\n".to_owned();
    services.fold(engine, |text, service| text + &service)
}

/// Lbd may go in whatever way: at no time has the kernel the VIP and its packets, too.
#[test]
fn nobody_is_refused_while_lbd_goes() {
    if !available() {
        return;
    }
    let [client, server] = ["client", "server"].map(|name| Namespace::new(name).expect("one"));
    let mut node = Node::new("node");
    let hosts = [
        (&client, "eth0", CLIENT),
        (&node.namespace, "eth0", NODE),
        (&server, "eth0", SERVER),
    ];
    let _switch = connect(0, &hosts);
    let vips = both(ANYCAST, VIP);
    for (vip, way) in vips.into_iter().zip(both(0, NODE)) {
        client
            .ip(&format!("route add {vip} via {way}"))
            .expect("a route");
    }
    hold(&server, &vips);
    let _servers = vips.map(|vip| {
        let started = UdpServer::start(&server, "server", SocketAddr::new(vip, PORT));
        started.expect("a server")
    });
    // Each refusal counts, however many there are.
    for key in ["net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit"] {
        node.namespace
            .sysctl(key, "0")
            .expect("a switch of the kernel's");
    }
    let goes: [(&str, Going); 3] = [
        ("killed", |node| {
            let mut lbd = node.lbd.take().expect("it runs");
            lbd.kill().expect("it ends");
        }),
        ("ended", |node| {
            let mut lbd = node.lbd.take().expect("it runs");
            assert!(lbd.terminate().expect("it ends").success());
        }),
        ("told to stand by", |node| {
            node.lbctl("standby");
        }),
    ];
    for (how, go) in goes {
        node.start_lbd(&config());
        let (got, end) = ([Got::default(), Got::default()], &AtomicBool::new(false));
        thread::scope(|scope| {
            for (got, vip) in got.iter().zip(vips) {
                let client = &client;
                scope.spawn(move || got.keep_sending(client, SocketAddr::new(vip, PORT), end));
            }
            let _until = Until(end);
            got.iter().for_each(|got| got.wait_for_answers(50));
            go(&mut node);
        });
        let refusals = got.map(|got| got.refusals.into_inner());
        println!("{how}: {refusals:?} refusals");
        assert_eq!(refusals, [0, 0], "{how}");
        assert!(!node.holds(&vips[0].to_string()));
    }
}
