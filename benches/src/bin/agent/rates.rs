//! What a server serves in a second.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::ensure;
use lb_testkit::netns::{
    HttpTally, IperfServer, Lab, Plan, Replies, Scratch, Sending, Topology, WebServer,
};

use crate::Arguments;

/// Requests, and bits, per second.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Each on a connection of its own.
    pub requests: f64,
    /// From the server to the client, over one connection.
    pub bits: f64,
}

/// A client, a router, and one server that knows nothing of any VIP.
pub fn lab() -> anyhow::Result<Lab> {
    let plan = Plan {
        servers: 1,
        ..Plan::new(Topology::TwoArmed, Replies::ToBalancer)
    };
    let lab = Lab::new(plan)?;
    // Ports come back a minute after their connection's end: there must be enough for as long.
    let ports = "net/ipv4/ip_local_port_range";
    lab.client.sysctl(ports, "1024 65535")?;
    Ok(lab)
}

/// What serves on the lab's server, and how a client reaches it.
pub struct Target {
    web: SocketAddr,
    bulk: SocketAddr,
    iperf: IperfServer,
    _nginx: WebServer,
}

impl Target {
    /// Starts nginx and iperf3 on these ports of the server, where clients find them at `web` and `bulk`.
    pub fn start(
        lab: &Lab,
        scratch: &Scratch,
        [web_port, bulk_port]: [u16; 2],
        web: SocketAddr,
        bulk: SocketAddr,
    ) -> anyhow::Result<Target> {
        let [server] = &lab.servers[..] else {
            unreachable!("the lab was made with one server");
        };
        let name = format!("server-{web_port}");
        Ok(Target {
            web,
            bulk,
            iperf: IperfServer::start(server, bulk_port)?,
            _nginx: WebServer::start(server, &name, web_port, scratch)?,
        })
    }

    /// Measures it once.
    pub fn rates(&mut self, lab: &Lab, arguments: &Arguments) -> anyhow::Result<Rates> {
        let start = Instant::now();
        let tally = HttpTally::collect(&lab.client, self.web, arguments.requests)?;
        let requests = arguments.requests as f64 / start.elapsed().as_secs_f64();
        ensure!(tally.failures == 0, "requests failed: {tally:?}");
        self.iperf.settle()?;
        let seconds = arguments.seconds;
        let bits = IperfServer::rate(&lab.client, self.bulk, Sending::Down, seconds)?;
        Ok(Rates { requests, bits })
    }
}
