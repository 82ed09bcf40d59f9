//! `lbd` in a lab.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Error, Lab, Process, Scratch, VIP, server_address};

/// How long `lbd` may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(60);

/// What `lbd` logs once everything is set up.
const READY: &str = "balancing";

/// One virtual service at [`VIP`], with every server of the lab behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Service {
    /// `dr` or `nat`.
    pub mode: &'static str,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Where clients find it.
    pub port: u16,
    /// Where the servers serve it.
    pub server_port: u16,
}

/// A running `lbd`.
pub struct Balancer {
    process: Process,
    _scratch: Scratch,
}

impl Balancer {
    /// Starts `program` in the lab's balancer with `config`, and waits until it balances.
    ///
    /// # Errors
    ///
    /// If it does not come up; the error has its log.
    pub fn start(lab: &Lab, program: &Path, config: &str) -> Result<Balancer, Error> {
        let scratch = Scratch::new()?;
        let config = scratch.write("lbd.toml", config)?;
        let mut lbd = Command::new(program);
        lbd.args(["run", "--config"])
            .arg(config)
            .env("NO_COLOR", "1");
        let mut process = lab.balancer.spawn(lbd)?;
        process.wait_for(READY, LIMIT)?;
        Ok(Balancer {
            process,
            _scratch: scratch,
        })
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
    /// A configuration of `lbd` for this lab: round robin, the service's address put on `eth0`.
    pub fn config(&self, services: &[Service]) -> String {
        let mut config = format!("[engine]\ninterfaces = {:?}\n", self.interfaces());
        for service in services {
            let Service {
                mode,
                protocol,
                port,
                server_port,
            } = service;
            let written = write!(
                config,
                "\n[[service]]\nvip = \"{VIP}:{port}\"\nprotocol = \"{protocol}\"\nscheduler = \"rr\"\n\
                 mode = \"{mode}\"\nvip_interface = \"eth0\"\n"
            );
            written.expect("a String takes everything");
            for index in 0..self.servers.len() {
                let rip = server_address(index);
                let written = write!(
                    config,
                    "[[service.server]]\nrip = \"{rip}:{server_port}\"\nweight = 1\n"
                );
                written.expect("a String takes everything");
            }
        }
        config
    }
}
