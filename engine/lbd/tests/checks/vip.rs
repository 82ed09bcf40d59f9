//! Servers that answer at their own addresses and have lost the VIP.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lb_testkit::netns::{
    Agent, Balancer, Family, HttpTally, Lab, Plan, Replies, Scratch, Topology, WebServer,
    available, server_name,
};
use lb_testkit::program;
use serde_json::Value;

/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

const PORT: u16 = 80;

struct Farm {
    lab: Lab,
    lbd: Balancer,
    _scratch: Scratch,
    webs: Vec<Option<WebServer>>,
    /// What takes packets out of the tunnel on the servers.
    agents: Vec<Agent>,
}

impl Farm {
    /// One service in each family.
    fn start(mode: &str) -> Farm {
        let topology = Topology::TwoArmed;
        let replies = match mode {
            "tun" => Replies::ToBalancer,
            _ => Replies::Direct,
        };
        let lab = Lab::new(Plan::new(topology, replies)).expect("a lab");
        let mut agents = Vec::new();
        if mode == "tun" {
            let vips = Family::BOTH.map(|family| family.vip().to_string());
            let from = Family::BOTH.map(|family| family.balancer_back(topology).to_string());
            let arguments = format!("tun {} --from {}", vips.join(" "), from.join(","));
            let start = |server| Agent::start(server, &program("lbrs"), &arguments).expect("lbrs");
            agents.extend(lab.servers.iter().map(start));
        }
        let scratch = Scratch::new().expect("a folder");
        let webs = lab.servers.iter().enumerate().map(|(index, server)| {
            let web = WebServer::start(server, &server_name(index), PORT, &scratch);
            Some(web.expect("nginx"))
        });
        let webs = webs.collect();
        let mut config = "[engine]\ninterfaces = [\"eth0\", \"eth1\"]\n".to_owned();
        for family in Family::BOTH {
            let vip = SocketAddr::new(family.vip(), PORT);
            config += &format!(
                "[[service]]\nvip = \"{vip}\"\nprotocol = \"tcp\"\nscheduler = \"wrr\"\nmode = \"{mode}\"\n\
                 vip_interface = \"eth0\"\n"
            );
            for index in 0..lab.servers.len() {
                let rip = SocketAddr::new(family.server(index), PORT);
                config += &format!("[[service.server]]\nrip = \"{rip}\"\n");
            }
            config += "[service.check]\ntype = \"vip\"\ninterval = \"100ms\"\ntimeout = \"1s\"\ninitial = \"down\"\n";
        }
        let lbd = Balancer::start(&lab, Path::new(env!("CARGO_BIN_EXE_lbd")), &config);
        Farm {
            lab,
            lbd: lbd.expect("lbd"),
            _scratch: scratch,
            webs,
            agents,
        }
    }

    fn check(&self, family: Family, index: usize) -> Value {
        let mut command = Command::new(program("lbctl"));
        command.args(["checks", "--json"]);
        command.env("LBD_SOCKET", self.lbd.socket());
        let output = command.output().expect("lbctl starts");
        let services: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let services = services.as_array().expect("a list").iter();
        let servers = services.flat_map(|service| service["servers"].as_array());
        let name = SocketAddr::new(family.server(index), PORT).to_string();
        let found = servers.flatten().find(|server| server["server"] == *name);
        found.expect("a server").clone()
    }

    #[track_caller]
    fn wait_for(&self, family: Family, index: usize, state: &str) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let check = self.check(family, index);
            if check["state"] == state {
                return check;
            }
            assert!(Instant::now() < end, "{check}\n{}", self.lbd.log());
        }
    }

    /// Ends lbd, which must have kept count of its frames.
    fn finish(mut self) {
        let status = self.lbd.terminate().expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", self.lbd.log());
    }
}

/// Takes the VIP from one server, nginx from the next.
fn lose_the_vip(farm: &mut Farm) {
    for family in Family::BOTH {
        for index in 0..3 {
            farm.wait_for(family, index, "up");
        }
        let (vip, bits) = (family.vip(), family.host_bits());
        let server = &farm.lab.servers[0];
        server
            .ip(&format!("address del {vip}/{bits} dev lo"))
            .expect("it was there");
        let down = farm.wait_for(family, 0, "down");
        let vip = SocketAddr::new(vip, PORT);
        assert_eq!(down["failure"], format!("no answer from {vip} within 1s"));
        let rip = SocketAddr::new(family.server(0), PORT);
        let asked = HttpTally::collect(&farm.lab.balancer, rip, 1).expect("curl");
        assert_eq!(asked.failures, 0, "it answers at its own address");
        let asked = HttpTally::collect(&farm.lab.client, vip, 12).expect("curl");
        assert_eq!((asked.failures, asked.answers.len()), (0, 2), "{asked:?}");
        farm.lab.servers[0]
            .ip(&format!("address add {}/{bits} dev lo", vip.ip()))
            .expect("it was gone");
        farm.wait_for(family, 0, "up");
    }
    farm.webs[1] = None;
    for family in Family::BOTH {
        let down = farm.wait_for(family, 1, "down");
        assert_eq!(down["failure"], "connection refused");
    }
}

#[test]
fn a_server_that_has_lost_the_vip_is_found() {
    if !available() {
        return;
    }
    let mut farm = Farm::start("dr");
    lose_the_vip(&mut farm);
    farm.finish();
}

#[test]
fn a_server_behind_a_tunnel_that_has_lost_the_vip_or_the_tunnel_is_found() {
    if !available() {
        return;
    }
    let mut farm = Farm::start("tun");
    lose_the_vip(&mut farm);
    // The last server's agent, which leaves the rest to the kernel.
    farm.agents.pop();
    for family in Family::BOTH {
        let down = farm.wait_for(family, 2, "down");
        let vip = SocketAddr::new(family.vip(), PORT);
        assert_eq!(down["failure"], format!("no answer from {vip} within 1s"));
    }
    farm.finish();
}
