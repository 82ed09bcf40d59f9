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
        let mut iperf = to(server, sending);
        iperf
            .args(["--bytes", &format!("{megabytes}M")])
            .args(["--parallel", "2"]);
        client.check_output(iperf).map(drop)
    }

    /// Sends for so many seconds over one connection, and returns the bits per second that the receiver saw.
    ///
    /// # Errors
    ///
    /// If iperf3 fails.
    pub fn rate(
        client: &Namespace,
        server: SocketAddr,
        sending: Sending,
        seconds: u32,
    ) -> Result<f64, Error> {
        let mut iperf = to(server, sending);
        iperf.args(["--time", &seconds.to_string(), "--format", "k"]);
        let report = client.check_output(iperf)?;
        received(&report).ok_or_else(|| {
            let strange = std::io::Error::other(format!("no rate in:\n{report}"));
            Error::io("iperf3")(strange)
        })
    }
}

fn to(server: SocketAddr, sending: Sending) -> Command {
    let mut iperf = Command::new("iperf3");
    iperf
        .args(["--client", &server.ip().to_string()])
        .args(["--port", &server.port().to_string()])
        .args(["--connect-timeout", "15000"]);
    if sending == Sending::Down {
        iperf.arg("--reverse");
    }
    iperf
}

/// Bits per second in the receiver's line of a report in kilobits.
fn received(report: &str) -> Option<f64> {
    let line = report.lines().find(|line| line.ends_with("receiver"))?;
    let (before, _) = line.split_once(" Kbits/sec")?;
    let kilobits: f64 = before.split_whitespace().last()?.parse().ok()?;
    Some(kilobits * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receivers_rate_is_read() {
        let report = "[ ID] Interval           Transfer     Bitrate         Retr\n\
            [  5]   0.00-2.00   sec  1.86 GBytes  7998012 Kbits/sec    0            sender\n\
            [  5]   0.00-2.04   sec  1.86 GBytes  7837512 Kbits/sec                  receiver\n";
        assert_eq!(received(report), Some(7_837_512_000.0));
        assert_eq!(received("iperf3: error"), None);
    }
}
