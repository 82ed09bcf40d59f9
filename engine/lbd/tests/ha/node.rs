//! `lbd` and the daemon that goes by it, on one machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lb_testkit::netns::{Balancer, Namespace, Process, Scratch};
use lb_testkit::program;

/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

/// A balancer and what runs on it.
pub struct Node {
    pub namespace: Namespace,
    pub lbd: Option<Balancer>,
    pub daemon: Option<Process>,
    scratch: Scratch,
}

impl Node {
    pub fn new(name: &str) -> Node {
        Node {
            namespace: Namespace::new(name).expect("a namespace"),
            lbd: None,
            daemon: None,
            scratch: Scratch::new().expect("a folder"),
        }
    }

    pub fn start_lbd(&mut self, config: &str) {
        let lbd = Path::new(env!("CARGO_BIN_EXE_lbd"));
        let lbd = Balancer::start_in(&self.namespace, lbd, config).expect("lbd");
        // An earlier one's is elsewhere.
        let _ = std::fs::remove_file(self.socket());
        symlink(lbd.socket(), self.socket()).expect("a link");
        self.lbd = Some(lbd);
    }

    /// Where whichever lbd runs here is asked.
    fn socket(&self) -> PathBuf {
        self.scratch.path().join("lbd.sock")
    }

    /// What keepalived runs to ask whether lbd is well.
    fn health(&self) -> String {
        format!(
            "{} --socket {} health",
            program("lbctl").display(),
            self.socket().display()
        )
    }

    pub fn lbctl(&self, line: &str) -> String {
        let lbd = self.lbd.as_ref().expect("lbd runs");
        let mut lbctl = Command::new(program("lbctl"));
        lbctl.args(line.split_whitespace());
        lbctl.env("LBD_SOCKET", lbd.socket());
        let output = lbctl.output().expect("lbctl");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {error}\n{}", lbd.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The server of each client's end.
    pub fn conns(&self) -> BTreeMap<String, String> {
        let lines = self.lbctl("-j conns --protocol tcp");
        let conn = |line: &str| {
            let conn: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let text = |key: &str| conn[key].as_str().unwrap_or_default().to_owned();
            (text("client"), text("server"))
        };
        lines.lines().map(conn).collect()
    }

    /// Has its kernel refuse nothing in the name of `vips`: while it has them and lbd is dead, it would reset connections that
    /// go on elsewhere.
    pub fn keep_quiet(&self, vips: &[IpAddr]) {
        let mut rules =
            "add table inet lbd; add chain inet lbd out { type filter hook output priority 0; };"
                .to_owned();
        for vip in vips {
            let (family, icmp) = match vip {
                IpAddr::V4(_) => ("ip", "icmp type destination-unreachable"),
                IpAddr::V6(_) => ("ip6", "icmpv6 type destination-unreachable"),
            };
            for refusal in ["tcp flags & rst == rst", icmp] {
                rules += &format!("add rule inet lbd out {family} saddr {vip} {refusal} drop;");
            }
        }
        let mut nft = Command::new("nft");
        nft.arg(rules);
        self.namespace.check_output(nft).expect("nft");
    }

    /// keepalived, with one VRRP instance for all `vips`, the first of which must be IPv4.
    pub fn start_keepalived(&mut self, priority: u8, vips: &[String]) {
        let health = self.health();
        let (first, others) = vips.split_first().expect("an address");
        let others = others.join("\n");
        let config = format!(
            "global_defs {{
                router_id {priority}
                vrrp_version 3
                script_user root
                vrrp_garp_master_repeat 2
                dynamic_interfaces
             }}
             vrrp_script lbd {{
                script \"{health}\"
                interval 1
                timeout 5
                fall 1
                rise 1
             }}
             vrrp_instance web {{
                state BACKUP
                interface eth0
                virtual_router_id 7
                priority {priority}
                advert_int 0.1
                virtual_ipaddress {{
                    {first} dev eth0
                }}
                virtual_ipaddress_excluded {{
                    {others}
                }}
                track_script {{
                    lbd
                }}
                track_interface {{
                    lbd0
                }}
             }}\n"
        );
        let config = self
            .scratch
            .write("keepalived.conf", config)
            .expect("a file");
        let folder = self.scratch.path().display();
        // Its children outlive it if it is killed, but not the first process of a namespace of their own.
        let mut keepalived = Command::new("unshare");
        keepalived.args(["--pid", "--fork", "--kill-child", "keepalived"]);
        keepalived.args(["--dont-fork", "--vrrp", "--log-console", "--use-file"]);
        keepalived.arg(config);
        keepalived.arg(format!("--pid={folder}/keepalived.pid"));
        keepalived.arg(format!("--vrrp_pid={folder}/vrrp.pid"));
        self.daemon = Some(self.namespace.spawn(keepalived).expect("keepalived"));
    }

    /// BIRD, with the rest of its configuration.
    pub fn start_bird(&mut self, router_id: &str, config: &str) {
        let config = format!("router id {router_id};\n{config}");
        let config = self.scratch.write("bird.conf", config).expect("a file");
        let mut bird = Command::new("bird");
        bird.args(["-f", "-c"]).arg(config);
        bird.arg("-s").arg(self.scratch.path().join("bird.ctl"));
        bird.arg("-P").arg(self.scratch.path().join("bird.pid"));
        self.daemon = Some(self.namespace.spawn(bird).expect("bird"));
    }

    /// Whether one of its interfaces other than the loopback has the address.
    pub fn holds(&self, address: &str) -> bool {
        let all = self
            .namespace
            .ip("-oneline address show")
            .expect("addresses");
        let address = format!(" {address}/");
        all.lines()
            .any(|line| line.contains(&address) && !line.contains(": lo "))
    }

    pub fn wait_until_it_holds(&self, address: &str) {
        let end = Instant::now() + LIMIT;
        while !self.holds(address) {
            let log = self.daemon.as_ref().map(Process::log);
            assert!(Instant::now() < end, "{address} does not come: {log:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As if its plug were pulled: off the network, then everything on it is gone.
    pub fn dies(&mut self) {
        let links = self.namespace.ip("-oneline link show").expect("links");
        for link in ["eth0", "eth1"] {
            if links.contains(&format!(" {link}@")) {
                let line = format!("link set {link} down");
                self.namespace.ip(&line).expect(&line);
            }
        }
        if let Some(mut lbd) = self.lbd.take() {
            lbd.kill().expect("it ends");
        }
        self.daemon = None;
    }
}
