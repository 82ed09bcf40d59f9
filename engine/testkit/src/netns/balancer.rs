//! `lbd` in a lab.

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Error, Family, Lab, Namespace, Process, Scratch};

/// How long `lbd` may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(60);

/// What `lbd` logs once everything is set up.
const READY: &str = "balancing";

/// One virtual service, with every server of the lab behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Service {
    /// `dr`, `nat`, …
    pub mode: &'static str,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Its address is the lab's VIP of this family.
    pub family: Family,
    /// Where clients find it.
    pub port: u16,
    /// Which addresses of the servers it uses.
    pub server_family: Family,
    /// Where the servers serve it.
    pub server_port: u16,
    /// More lines of its `[[service]]`.
    pub more: &'static str,
    /// More lines of each `[[service.server]]`.
    pub more_of_server: &'static str,
}

impl Service {
    /// A service in IPv4 that servers serve at its own port.
    pub fn new(mode: &'static str, protocol: &'static str, port: u16) -> Service {
        Service {
            mode,
            protocol,
            family: Family::V4,
            port,
            server_family: Family::V4,
            server_port: port,
            more: "",
            more_of_server: "",
        }
    }

    /// The service in `family`, its servers too.
    #[must_use]
    pub fn in_family(self, family: Family) -> Service {
        Service {
            family,
            server_family: family,
            ..self
        }
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        (self.family.vip(), self.port).into()
    }
}

/// A running `lbd`.
pub struct Balancer {
    process: Process,
    scratch: Scratch,
}

impl Balancer {
    /// Starts `program` in the lab's balancer with `config`, and waits until it balances.
    ///
    /// # Errors
    ///
    /// If it does not come up; the error has its log.
    pub fn start(lab: &Lab, program: &Path, config: &str) -> Result<Balancer, Error> {
        Balancer::start_in(&lab.balancer, program, config)
    }

    /// The same in any namespace.
    ///
    /// # Errors
    ///
    /// If it does not come up; the error has its log.
    pub fn start_in(
        namespace: &Namespace,
        program: &Path,
        config: &str,
    ) -> Result<Balancer, Error> {
        let scratch = Scratch::new()?;
        let config = scratch.write("lbd.toml", config)?;
        let mut lbd = Command::new(program);
        lbd.args(["run", "--config"])
            .arg(config)
            .env("LBD_SOCKET", scratch.path().join("lbd.sock"))
            .env("NO_COLOR", "1");
        let mut process = namespace.spawn(lbd)?;
        process.wait_for(READY, LIMIT)?;
        Ok(Balancer { process, scratch })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("lbd.sock")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.scratch.path().join("lbd.toml")
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Asks it to end and returns how it did.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn terminate(&mut self) -> Result<ExitStatus, Error> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(LIMIT)
    }

    /// Ends it without asking.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait(LIMIT)
    }
}

impl Lab {
    /// A configuration of `lbd` for this lab: round robin, the services' addresses put on `eth0`.
    pub fn config(&self, services: &[Service]) -> String {
        let mut config = format!("[engine]\ninterfaces = {:?}\n", self.interfaces());
        for service in services {
            let written = self.write_service(&mut config, service);
            written.expect("a String takes everything");
        }
        config
    }

    fn write_service(&self, config: &mut String, service: &Service) -> fmt::Result {
        writeln!(
            config,
            "\n[[service]]\nvip = \"{}\"\nprotocol = \"{}\"\nscheduler = \"rr\"\nmode = \"{}\"\n\
             vip_interface = \"eth0\"",
            service.address(),
            service.protocol,
            service.mode
        )?;
        if service.mode == "fnat" {
            let lip = service.family.local_address(self.plan.topology);
            let back = self.interfaces().last().unwrap_or(&"eth0");
            writeln!(config, "local_addresses = [\"{lip}\"]")?;
            writeln!(config, "local_interface = \"{back}\"")?;
        }
        if !service.more.is_empty() {
            writeln!(config, "{}", service.more)?;
        }
        for index in 0..self.servers.len() {
            let rip = service.server_family.server(index);
            let rip = SocketAddr::new(rip, service.server_port);
            writeln!(config, "[[service.server]]\nrip = \"{rip}\"\nweight = 1")?;
            if !service.more_of_server.is_empty() {
                writeln!(config, "{}", service.more_of_server)?;
            }
        }
        Ok(())
    }
}
