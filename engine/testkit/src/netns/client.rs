//! What a client in a lab does, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};

use super::{Error, Namespace};

/// When a connection on which nothing moves is given up.
pub(super) const STALLED: Duration = Duration::from_secs(30);

/// When a datagram is counted as lost.
const UDP_LOST: Duration = Duration::from_secs(2);

/// How often a datagram is sent before it is lost for good.
const UDP_TRIES: usize = 10;

/// Who answered HTTP requests.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpTally {
    /// Answers by what was in them: the server's name.
    pub answers: BTreeMap<String, u64>,
    /// Requests without a good answer, and those that were not made any more after the first of them.
    pub failures: u64,
    /// Different client ports that got an answer: as many as requests if each had a TCP connection of its own, on a port
    /// that no other had.
    pub connections: u64,
    /// What curl said of the first failure.
    pub first_failure: Option<String>,
}

impl HttpTally {
    /// Sends `requests` one after the other to an HTTP server with curl, each on a TCP connection of its own.
    ///
    /// # Errors
    ///
    /// If curl cannot be run; what it could not fetch is in the tally.
    pub fn collect(
        client: &Namespace,
        server: SocketAddr,
        requests: u64,
    ) -> Result<HttpTally, Error> {
        let mut curl = Command::new("curl");
        // Every request is for another host, all found at the same address, so curl cannot use a connection twice and
        // keeps a handful of them before it closes the oldest. Were the server the one who closes, the client's kernel
        // would hand out the same ports again within seconds, and a port that comes again may meet its old conn.
        // It stops at the first failure: thousands of time-outs would take hours to say the same.
        curl.args(["--silent", "--fail-early", "--noproxy", "*"])
            .args(["--connect-to", &format!("::{server}")])
            .args(["--connect-timeout", "15", "--max-time", "30"])
            .args([
                "--write-out",
                "#%{local_port} %{http_code} %{exitcode} %{errormsg}\n",
            ])
            .arg(format!("http://host-[1-{requests}]/"));
        let output = client.output(curl)?;
        let mut tally = HttpTally::read(&String::from_utf8_lossy(&output.stdout));
        let seen = tally.answers.values().sum::<u64>() + tally.failures;
        tally.failures += requests.saturating_sub(seen);
        Ok(tally)
    }

    /// Reads curl's output: of each transfer the body, if any came, then the line of `--write-out`.
    fn read(text: &str) -> HttpTally {
        let mut tally = HttpTally::default();
        let mut ports = BTreeSet::new();
        let mut body = "";
        for line in text.lines() {
            let Some(report) = line.strip_prefix('#') else {
                body = line;
                continue;
            };
            let (port, outcome) = report.split_once(' ').unwrap_or(("", report));
            if outcome.starts_with("200 0 ") && !body.is_empty() {
                *tally.answers.entry(body.to_owned()).or_default() += 1;
                ports.insert(port);
            } else {
                tally.failures += 1;
                tally
                    .first_failure
                    .get_or_insert_with(|| outcome.to_owned());
            }
            body = "";
        }
        tally.connections = ports.len() as u64;
        tally
    }
}

/// Who answered datagrams.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UdpTally {
    /// Answers by the server's name.
    pub answers: BTreeMap<String, u64>,
    /// Requests without an answer, or with a wrong one.
    pub failures: u64,
}

/// Sends `requests` datagrams one after the other, each from a socket of its own, and waits for its answer
/// from the very address it was sent to. All sockets stay open to the end, so that no two requests share a port
/// and look like one flow.
///
/// # Errors
///
/// If no socket can be opened; what was not answered is in the tally.
pub fn udp_requests(client: &Namespace, server: SocketAddr, requests: u64) -> io::Result<UdpTally> {
    client.run(|| {
        let mut tally = UdpTally::default();
        let mut sockets = Vec::new();
        for number in 0..requests {
            let socket = udp_socket(server)?;
            match udp_request(&socket, number) {
                Ok(name) => *tally.answers.entry(name).or_default() += 1,
                Err(_) => tally.failures += 1,
            }
            sockets.push(socket);
        }
        Ok(tally)
    })
}

/// Sends one datagram of `len` bytes, and returns the name of the server that sent it back whole.
///
/// # Errors
///
/// If no answer comes, or another one.
pub fn large_udp_request(client: &Namespace, server: SocketAddr, len: usize) -> io::Result<String> {
    client.run(|| {
        let (socket, request) = (udp_socket(server)?, pattern(len));
        socket.send(&request)?;
        answer_to(&socket, &request)
    })
}

/// A client whose datagrams must not be taken apart on their way: it learns what the path takes.
pub struct WholeDatagrams {
    socket: UdpSocket,
}

impl WholeDatagrams {
    /// Asks `server`.
    ///
    /// # Errors
    ///
    /// If no socket can be opened.
    pub fn to(client: &Namespace, server: SocketAddr) -> io::Result<WholeDatagrams> {
        client.run(|| {
            let socket = udp_socket(server)?;
            match server {
                SocketAddr::V4(_) => set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?,
                SocketAddr::V6(_) => set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO)?,
            }
            Ok(WholeDatagrams { socket })
        })
    }

    /// Sends a datagram of `len` bytes, again if it is lost, and returns the name of the server that sent it back whole;
    /// `None` if it is too large for the path.
    ///
    /// # Errors
    ///
    /// If it is lost for good.
    pub fn request(&self, len: usize) -> io::Result<Option<String>> {
        let request = pattern(len);
        for _ in 0..UDP_TRIES {
            let answer = self.socket.send(&request);
            let answer = answer.and_then(|_| answer_to(&self.socket, &request));
            match answer {
                Ok(name) => return Ok(Some(name)),
                Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => {
                    return Ok(None);
                }
                // Lost, or late and of the one before.
                Err(_) => {}
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// A socket of its own for `server`, on which what is lost is noticed.
fn udp_socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(UDP_LOST))?;
    Ok(socket)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// The name of the server that sends `request` back whole.
fn answer_to(socket: &UdpSocket, request: &[u8]) -> io::Result<String> {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let length = socket.recv(&mut buffer)?;
    let name = buffer[..length].strip_suffix(request);
    let name = name.and_then(|name| name.strip_suffix(b" "));
    name.map(|name| String::from_utf8_lossy(name).into_owned())
        .ok_or_else(|| io::Error::other("a wrong answer"))
}

fn udp_request(socket: &UdpSocket, number: u64) -> io::Result<String> {
    socket.send(format!("request {number}").as_bytes())?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let name = answer.strip_suffix(&format!(" request {number}"));
    name.map(str::to_owned)
        .ok_or_else(|| io::Error::other("a wrong answer"))
}

/// A session with a [`LineServer`](super::LineServer): takes the greeting, then has `rounds` lines sent back.
///
/// # Errors
///
/// If the connection fails or stalls, or something else comes back.
pub fn tcp_exchange(client: &Namespace, server: SocketAddr, rounds: u32) -> io::Result<()> {
    client.run(|| {
        let mut stream = connect(server)?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let mut expect = |expected: &str| match lines.next() {
            Some(Ok(line)) if line == expected => Ok(()),
            Some(Ok(line)) => Err(io::Error::other(format!(
                "{line:?} instead of {expected:?}"
            ))),
            Some(Err(error)) => Err(error),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        expect("SSH-2.0-lab")?;
        for round in 0..rounds {
            let line = format!("line {round}");
            stream.write_all(format!("{line}\n").as_bytes())?;
            expect(&line)?;
        }
        Ok(())
    })
}

/// Sends `count` echo requests and returns how many were answered.
///
/// # Errors
///
/// If `ping` cannot be run.
pub fn ping(client: &Namespace, address: impl Into<IpAddr>, count: u32) -> Result<u32, Error> {
    let mut ping = Command::new("ping");
    ping.args([
        "-n",
        "-i",
        "0.2",
        "-W",
        "5",
        "-c",
        &count.to_string(),
        &address.into().to_string(),
    ]);
    let output = client.output(ping)?;
    let text = String::from_utf8_lossy(&output.stdout);
    // "3 packets transmitted, 3 received, 0% packet loss, time 402ms"
    let received = text
        .lines()
        .filter_map(|line| line.split_once(" received")?.0.rsplit(' ').next());
    Ok(received
        .filter_map(|count| count.parse::<u32>().ok())
        .next()
        .unwrap_or(0))
}

/// Connects, with limits that turn a stalled connection into an error.
pub(super) fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, STALLED)?;
    stream.set_read_timeout(Some(STALLED))?;
    stream.set_write_timeout(Some(STALLED))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_tells_answers_from_failures() {
        let text = "server-1\n#33000 200 0 \nserver-2\n#33002 200 0 \nserver-1\n#33002 200 0 \n\
                    #0 000 28 Connection timed out\nserver-2\n#33004 503 0 \n";
        let tally = HttpTally::read(text);
        let expected = [("server-1".to_owned(), 2), ("server-2".to_owned(), 1)];
        assert_eq!(tally.answers, expected.into());
        assert_eq!((tally.failures, tally.connections), (2, 2));
        assert_eq!(
            tally.first_failure.as_deref(),
            Some("000 28 Connection timed out")
        );
    }
}
