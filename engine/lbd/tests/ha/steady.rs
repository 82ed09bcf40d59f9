//! A client that does not stop asking.

use std::io::{self, BufRead, BufReader, Lines, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lb_testkit::netns::Namespace;

/// How often it asks.
const EVERY: Duration = Duration::from_millis(10);

/// When an answer is no longer waited for.
const LOST: Duration = Duration::from_secs(20);

/// What one connection, or one series of datagrams, went through.
#[derive(Debug)]
pub struct Outcome {
    /// The client's end.
    pub client: SocketAddr,
    /// Answers.
    pub answers: u64,
    /// The longest time from one answer to the next.
    pub gap: Duration,
    /// Why it ended, if it was not told to.
    pub failure: Option<String>,
}

/// Connections that are kept busy until they are told to end.
pub struct Steady {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Outcome>>,
}

impl Steady {
    /// Opens a connection to each of `servers`, which send lines back ([`LineServer`](lb_testkit::netns::LineServer)), and a
    /// line over each every ten milliseconds.
    pub fn connections(client: &Namespace, servers: &[SocketAddr]) -> Steady {
        let mut steady = Steady::new();
        for server in servers {
            let (mut stream, mut lines) = open(client, server);
            let client = stream.local_addr().expect("an address");
            let greeting = lines.next().expect("a greeting");
            assert_eq!(greeting.expect("a greeting"), "SSH-2.0-lab");
            steady.spawn(client, move |number| {
                let line = format!("line {number}");
                stream.write_all(format!("{line}\n").as_bytes())?;
                match lines.next() {
                    Some(answer) if answer.as_ref().is_ok_and(|answer| *answer == line) => Ok(true),
                    Some(Err(error)) => Err(error),
                    other => Err(io::Error::other(format!("{other:?}"))),
                }
            });
        }
        steady
    }

    /// Opens a connection to each of `servers`, which speak HTTP ([`WebServer`](lb_testkit::netns::WebServer)), and asks for a
    /// page over each every ten milliseconds.
    pub fn pages(client: &Namespace, servers: &[SocketAddr]) -> Steady {
        let mut steady = Steady::new();
        for server in servers {
            let (mut stream, mut lines) = open(client, server);
            let client = stream.local_addr().expect("an address");
            steady.spawn(client, move |_| {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
                let mut next = || match lines.next() {
                    Some(line) => line,
                    None => Err(io::ErrorKind::UnexpectedEof.into()),
                };
                let status = next()?;
                if status != "HTTP/1.1 200 OK" {
                    return Err(io::Error::other(status));
                }
                while !next()?.is_empty() {}
                // The page is one line.
                next().map(|_| true)
            });
        }
        steady
    }

    /// Sends datagrams to each of `servers`, one every ten milliseconds whether the last was answered or not.
    pub fn datagrams(client: &Namespace, servers: &[SocketAddr]) -> Steady {
        let mut steady = Steady::new();
        for server in servers {
            let any: IpAddr = match server {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = client.run(|| UdpSocket::bind((any, 0))).expect("a socket");
            socket.connect(server).expect("a way there");
            socket.set_read_timeout(Some(EVERY)).expect("a limit");
            let client = socket.local_addr().expect("an address");
            steady.spawn(client, move |number| {
                // A machine that goes down may say so; the next datagram finds another.
                let _ = socket.send(format!("{number}").as_bytes());
                let mut buffer = [0; 64];
                Ok(socket.recv(&mut buffer).is_ok())
            });
        }
        steady
    }

    fn new() -> Steady {
        Steady {
            stop: Arc::default(),
            answers: Arc::default(),
            threads: Vec::new(),
        }
    }

    fn spawn(
        &mut self,
        client: SocketAddr,
        mut ask: impl FnMut(u64) -> io::Result<bool> + Send + 'static,
    ) {
        let (stop, answers) = (Arc::clone(&self.stop), Arc::clone(&self.answers));
        self.threads.push(thread::spawn(move || {
            let mut outcome = Outcome {
                client,
                answers: 0,
                gap: Duration::ZERO,
                failure: None,
            };
            let mut last = Instant::now();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                match ask(number) {
                    Ok(true) => {
                        outcome.answers += 1;
                        outcome.gap = outcome.gap.max(last.elapsed());
                        last = Instant::now();
                        answers.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(EVERY);
                    }
                    Ok(false) => {}
                    Err(error) => {
                        outcome.failure = Some(error.to_string());
                        break;
                    }
                }
            }
            outcome
        }));
    }

    /// Waits until `count` more answers have come, or nothing comes any more.
    pub fn wait_for_answers(&self, count: u64) {
        let goal = self.answers.load(Ordering::Relaxed) + count;
        let end = Instant::now() + 3 * LOST;
        while self.answers.load(Ordering::Relaxed) < goal
            && Instant::now() < end
            && !self.threads.iter().all(JoinHandle::is_finished)
        {
            thread::sleep(EVERY);
        }
    }

    /// Ends all of it; what each went through.
    pub fn finish(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = self.threads.into_iter();
        threads
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    }
}

/// A connection, and what comes over it.
fn open(client: &Namespace, server: &SocketAddr) -> (TcpStream, Lines<BufReader<TcpStream>>) {
    let stream = client.run(|| TcpStream::connect_timeout(server, LOST));
    let stream = stream.unwrap_or_else(|error| panic!("{server}: {error}"));
    stream.set_read_timeout(Some(LOST)).expect("a limit");
    stream.set_nodelay(true).expect("no delay");
    let lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
    (stream, lines)
}

/// The longest gap of all.
pub fn gap(outcomes: &[Outcome]) -> Duration {
    outcomes
        .iter()
        .map(|outcome| outcome.gap)
        .max()
        .unwrap_or_default()
}

/// Those that did not live to the end.
pub fn lost(outcomes: &[Outcome]) -> Vec<&Outcome> {
    outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .collect()
}
