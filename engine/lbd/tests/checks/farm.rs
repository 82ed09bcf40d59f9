//! A lab of web servers that are checked, and of line servers that are not, on the same machines.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lb_testkit::netns::{
    Balancer, HttpTally, Lab, LineServer, Plan, Replies, Scratch, Topology, VIP, WebServer,
    server_address, server_name,
};
use lb_testkit::program;
use serde_json::Value;

/// The service that is checked.
pub const WEB: u16 = 80;
/// The one that is not.
pub const LINES: u16 = 22;

/// Three of the lab's servers are the farm.
const SERVERS: usize = 3;

/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Farm {
    lbd: Balancer,
    pub lab: Lab,
    scratch: Scratch,
    /// One of each server, and one more that no service has.
    pub webs: Vec<Option<WebServer>>,
    _lines: Vec<LineServer>,
    config: String,
}

impl Farm {
    /// With these lines in the web service's `[service.check]`.
    pub fn start(check: &str) -> Farm {
        Farm::with(&format!("[service.check]\n{check}"))
    }

    /// With these tables after the web service's servers.
    pub fn with(tables: &str) -> Farm {
        // Sessions would end if they were idle while it is built.
        program("lbctl");
        let plan = Plan::new(Topology::TwoArmed, Replies::ThroughBalancer);
        let lab = Lab::new(Plan {
            servers: SERVERS + 1,
            ..plan
        });
        let lab = lab.expect("a lab");
        let scratch = Scratch::new().expect("a folder");
        let lines = (0..SERVERS).map(|index| {
            let address = SocketAddr::from((server_address(index), LINES + 8000));
            LineServer::start(&lab.servers[index], address).expect("a server")
        });
        let lines = lines.collect();
        let webs = (0..SERVERS).map(|index| Some(web(&lab, &scratch, index)));
        let webs = webs.chain([None]).collect();
        let config = config(tables);
        let lbd = Balancer::start(&lab, Path::new(env!("CARGO_BIN_EXE_lbd")), &config);
        Farm {
            lbd: lbd.expect("lbd"),
            lab,
            webs,
            scratch,
            _lines: lines,
            config,
        }
    }

    pub fn rip(&self, index: usize) -> Ipv4Addr {
        server_address(index)
    }

    pub fn start_web(&mut self, index: usize) {
        self.webs[index] = Some(web(&self.lab, &self.scratch, index));
    }

    /// What a command prints that must succeed without a complaint; FILE is the configuration.
    #[track_caller]
    pub fn lbctl(&self, line: &str) -> String {
        let file = self
            .scratch
            .write("lbd.toml", &self.config)
            .expect("a file");
        let file = file.display().to_string();
        let mut command = Command::new(program("lbctl"));
        let words = line.split_whitespace();
        command.args(words.map(|word| if word == "FILE" { &file } else { word }));
        command.env("LBD_SOCKET", self.lbd.socket());
        let output = command.output().expect("lbctl starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        assert_eq!(text(output.stderr), "", "{line}\n{}", self.lbd.log());
        assert_eq!(output.status.code(), Some(0), "{line}");
        text(output.stdout)
    }

    /// Opens this many connections at once, each as long as it takes, and a client asks again if it is not answered.
    pub fn knock(&self, count: usize) {
        const PATIENCE: Duration = Duration::from_millis(1500);
        let knock = || drop(TcpStream::connect_timeout(&(VIP, WEB).into(), PATIENCE));
        self.lab.client.run(|| {
            std::thread::scope(|scope| {
                (0..count).for_each(|_| drop(scope.spawn(knock)));
            });
        });
    }

    /// Changes the filter of a server's kernel.
    pub fn nft(&self, index: usize, rules: &str) {
        let mut nft = Command::new("nft");
        nft.arg(rules);
        self.lab.servers[index].check_output(nft).expect("nft");
    }

    /// What others go by who would take over.
    pub fn is_healthy(&self) -> bool {
        let mut command = Command::new(program("lbctl"));
        command.args(["health", &format!("{VIP}:{WEB}")]);
        command.env("LBD_SOCKET", self.lbd.socket());
        command.output().expect("lbctl starts").status.success()
    }

    /// All services that are checked.
    pub fn checks(&self) -> Value {
        serde_json::from_str(&self.lbctl("checks --json")).expect("JSON")
    }

    /// The web service.
    pub fn service(&self) -> Value {
        self.checks()[0].clone()
    }

    /// What is known of a server.
    #[track_caller]
    pub fn check(&self, index: usize) -> Value {
        let name = format!("{}:{}", self.rip(index), WEB + 8000);
        let service = self.service();
        let servers = service["servers"].as_array().expect("a list");
        let server = servers.iter().find(|server| server["server"] == *name);
        server.expect("a server of the service").clone()
    }

    #[track_caller]
    pub fn wait_until(&self, mut happened: impl FnMut(&Farm) -> bool) {
        let end = Instant::now() + LIMIT;
        while !happened(self) {
            assert!(Instant::now() < end, "{}", self.lbd.log());
        }
    }

    #[track_caller]
    pub fn wait_for(&self, index: usize, state: &str) -> Value {
        let mut check = Value::Null;
        self.wait_until(|farm| {
            check = farm.check(index);
            check["state"] == state
        });
        check
    }

    /// Who answers requests, all of which must be answered.
    #[track_caller]
    pub fn answers(&self, count: u64) -> BTreeMap<String, u64> {
        let address = SocketAddr::from((VIP, WEB));
        let tally = HttpTally::collect(&self.lab.client, address, count).expect("curl");
        assert_eq!(tally.failures, 0, "{tally:?}\n{}", self.lbd.log());
        tally.answers
    }

    /// A connection to the line service that stays.
    pub fn session(&self) -> LineClient {
        let connect = || TcpStream::connect_timeout(&(VIP, LINES).into(), LIMIT);
        let stream = self.lab.client.run(connect).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
        let mut client = LineClient(BufReader::new(stream));
        assert_eq!(client.line(), "SSH-2.0-lab");
        client
    }

    /// Ends lbd, which must be right about its frames; its log.
    pub fn finish(mut self) -> String {
        let status = self.lbd.terminate().expect("it ends");
        let log = self.lbd.log();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("frames conserved"), "{log}");
        log
    }
}

/// A connection to the line service.
pub struct LineClient(BufReader<TcpStream>);

impl LineClient {
    /// Something goes there and comes back.
    #[track_caller]
    pub fn exchange(&mut self) {
        self.0.get_mut().write_all(b"still there\n").expect("it is");
        assert_eq!(self.line(), "still there");
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }
}

fn web(lab: &Lab, scratch: &Scratch, index: usize) -> WebServer {
    let name = server_name(index);
    // One that was killed has left its process id there.
    let _ = std::fs::remove_file(scratch.path().join(format!("{name}.pid")));
    WebServer::start(&lab.servers[index], &name, WEB + 8000, scratch).expect("nginx")
}

fn config(tables: &str) -> String {
    let mut config = "[engine]\ninterfaces = [\"eth0\", \"eth1\"]\n".to_owned();
    for (port, tables) in [(LINES, ""), (WEB, tables)] {
        config += &format!(
            "\n[[service]]\nvip = \"{VIP}:{port}\"\nprotocol = \"tcp\"\nscheduler = \"wrr\"\nmode = \"nat\"\n\
             vip_interface = \"eth0\"\n"
        );
        for index in 0..SERVERS {
            let rip = server_address(index);
            config += &format!(
                "[[service.server]]\nrip = \"{rip}:{}\"\nweight = 10\n",
                port + 8000
            );
        }
        config += &format!("{tables}\n");
    }
    config
}
