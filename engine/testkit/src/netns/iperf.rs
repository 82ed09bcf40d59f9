//! iperf3, the real one.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::{Error, Namespace, Process};

const LIMIT: Duration = Duration::from_secs(20);

/// `iperf3 --server`, on all addresses.
pub struct IperfServer {
    process: Process,
}

/// Which way iperf3 sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sending {
    /// The client to the server.
    Up,
    /// The server to the client.
    Down,
}

impl IperfServer {
    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    ///
    /// If iperf3 is missing or does not come up.
    pub fn start(namespace: &Namespace, port: u16) -> Result<IperfServer, Error> {
        let mut iperf = Command::new("iperf3");
        iperf.args(["--server", "--forceflush", "--port", &port.to_string()]);
        let mut process = namespace.spawn(iperf)?;
        process.wait_for("listening", LIMIT)?;
        Ok(IperfServer { process })
    }

    /// Waits until it listens again: after every measurement it closes its socket for a moment, and refuses whoever comes.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn settle(&mut self) -> Result<(), Error> {
        let measured = self.process.log().matches("Accepted connection").count();
        let again = format!("(test #{})", measured + 1);
        self.process.wait_for(&again, LIMIT)
    }

    /// Sends `megabytes` over two connections at a time.
    ///
    /// # Errors
    ///
    /// If iperf3 fails: also when a connection does, or the other side does not agree on the end.
    pub fn measure(
        client: &Namespace,
        server: SocketAddr,
        sending: Sending,
        megabytes: u32,
    ) -> Result<(), Error> {
        let mut iperf = Command::new("iperf3");
        iperf
            .args(["--client", &server.ip().to_string()])
            .args(["--port", &server.port().to_string()])
            .args(["--bytes", &format!("{megabytes}M")])
            .args(["--parallel", "2", "--connect-timeout", "15000"]);
        if sending == Sending::Down {
            iperf.arg("--reverse");
        }
        client.check_output(iperf).map(drop)
    }
}
