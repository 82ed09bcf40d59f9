//! Servers for a lab: nginx, and small ones on a thread of this process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::{Error, Namespace, Process, Scratch};

/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How often a thread that waits for a client looks whether its server was dropped.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// nginx: answers every path with its name, `/who` with the client's address and port, `/files/NAME` with the file of that name in the scratch folder, and
/// `/slow/NAME` with that of its own name, a dash and that name, at a kilobyte a second.
pub struct WebServer {
    process: Process,
}

impl WebServer {
    /// Starts it, and waits until it listens on `port` of all addresses, IPv4 and IPv6.
    ///
    /// # Errors
    ///
    /// If nginx is missing or does not come up.
    pub fn start(
        namespace: &Namespace,
        name: &str,
        port: u16,
        scratch: &Scratch,
    ) -> Result<WebServer, Error> {
        let folder = scratch.path().display();
        let config = scratch.write(&format!("{name}.conf"), configuration(name, port, scratch))?;
        let mut nginx = Command::new("nginx");
        nginx
            .args(["-p", &folder.to_string(), "-e", "stderr", "-c"])
            .arg(config);
        let mut process = namespace.spawn(nginx)?;
        // nginx listens before it writes its process id file, and says nothing.
        wait_for_file(&mut process, scratch.path().join(format!("{name}.pid")))?;
        Ok(WebServer { process })
    }
}

impl WebServer {
    /// Sends it a signal: one that stops it makes it a server that takes connections and says nothing.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.process.signal(signal)
    }
}

/// One process, so that killing it kills all of it.
fn configuration(name: &str, port: u16, scratch: &Scratch) -> String {
    let folder = scratch.path().display();
    format!(
        "daemon off; master_process off; pid {folder}/{name}.pid; error_log stderr;
         events {{ worker_connections 4096; }}
         http {{
           access_log off; default_type text/plain; keepalive_requests 1000000;
           client_body_temp_path {folder}/{name}.body; proxy_temp_path {folder}/{name}.proxy;
           fastcgi_temp_path {folder}/{name}.fastcgi; uwsgi_temp_path {folder}/{name}.uwsgi;
           scgi_temp_path {folder}/{name}.scgi;
           server {{
             listen {port}; listen [::]:{port};
             location /who {{ return 200 \"$remote_addr $remote_port\"; }}
             location / {{ return 200 \"{name}\\n\"; }}
             location /files/ {{ alias {folder}/; }}
             location /slow/ {{ alias {folder}/{name}-; limit_rate 1k; }}
           }}
         }}\n"
    )
}

fn wait_for_file(process: &mut Process, path: std::path::PathBuf) -> Result<(), Error> {
    let end = std::time::Instant::now() + START_LIMIT;
    while std::fs::metadata(&path).map_or(0, |metadata| metadata.len()) == 0 {
        // Ends early, with what it printed, if nginx gave up.
        if process.wait(LOOK_AROUND).is_ok() || std::time::Instant::now() > end {
            process.wait_for("a process id file", Duration::ZERO)?;
        }
    }
    Ok(())
}

/// Answers each datagram with its name, a space and what was in it.
pub struct UdpServer {
    _thread: ServerThread,
}

impl UdpServer {
    /// Serves `address`; for direct replies that is the service's, so that they leave from there.
    ///
    /// # Errors
    ///
    /// If the address is not the namespace's or is taken.
    pub fn start(
        namespace: &Namespace,
        name: &str,
        address: SocketAddr,
    ) -> Result<UdpServer, Error> {
        let open = || {
            let socket = UdpSocket::bind(address)?;
            socket.set_read_timeout(Some(LOOK_AROUND))?;
            Ok(socket)
        };
        let socket = namespace
            .run(open)
            .map_err(Error::io(format!("serve UDP on {address}")))?;
        let name = name.to_owned();
        let mut buffer = vec![0; usize::from(u16::MAX)];
        let thread = ServerThread::start(move || {
            let (length, from) = socket.recv_from(&mut buffer)?;
            let reply = [name.as_bytes(), b" ", &buffer[..length]].concat();
            socket.send_to(&reply, from).map(drop)
        });
        Ok(UdpServer { _thread: thread })
    }
}

/// An ssh-like server: greets, then sends every line back.
pub struct LineServer {
    _thread: ServerThread,
}

impl LineServer {
    /// Serves `address`.
    ///
    /// # Errors
    ///
    /// If the address is not the namespace's or is taken.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<LineServer, Error> {
        let thread = serve_tcp(namespace, address, |mut stream| {
            stream.write_all(b"SSH-2.0-lab\r\n")?;
            let mut lines = BufReader::new(stream.try_clone()?);
            let mut line = String::new();
            while lines.read_line(&mut line)? > 0 {
                stream.write_all(line.as_bytes())?;
                line.clear();
            }
            Ok(())
        })?;
        Ok(LineServer { _thread: thread })
    }
}

/// Takes everything a client sends and answers with its sha256.
pub struct SinkServer {
    _thread: ServerThread,
}

impl SinkServer {
    /// Serves `address`.
    ///
    /// # Errors
    ///
    /// If the address is not the namespace's or is taken.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<SinkServer, Error> {
        let thread = serve_tcp(namespace, address, |mut stream| {
            let digest = sha256(&mut stream)?;
            stream.write_all(digest.as_bytes())
        })?;
        Ok(SinkServer { _thread: thread })
    }

    /// Sends `content` to a sink and returns the digest it answers.
    ///
    /// # Errors
    ///
    /// If the connection fails or stalls.
    pub fn upload(
        client: &Namespace,
        address: SocketAddr,
        content: &mut (impl Read + Send),
    ) -> io::Result<String> {
        client.run(|| {
            let mut stream = super::client::connect(address)?;
            io::copy(content, &mut stream)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut digest = String::new();
            stream.read_to_string(&mut digest)?;
            Ok(digest)
        })
    }
}

/// The sha256 of all that can be read, in hexadecimal.
///
/// # Errors
///
/// If reading fails or there is no `sha256sum`.
pub fn sha256(source: &mut impl Read) -> io::Result<String> {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().expect("stdin is piped");
    let copied = io::copy(source, &mut input);
    drop(input);
    let output = child.wait_with_output()?;
    copied?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let digest = text
        .split_whitespace()
        .next()
        .filter(|_| output.status.success());
    digest
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other("sha256sum failed"))
}

/// A thread that repeats a step until it is dropped; the step waits [`LOOK_AROUND`] at most.
pub(super) struct ServerThread {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ServerThread {
    fn start(mut step: impl FnMut() -> io::Result<()> + Send + 'static) -> ServerThread {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                // A time-out, or a client that went away: its own side notices, the server lives on.
                let _ = step();
            }
        });
        ServerThread {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed already.
            let _ = thread.join();
        }
    }
}

/// Accepts on `address` and runs `session` for each client, each on its own thread.
pub(super) fn serve_tcp(
    namespace: &Namespace,
    address: SocketAddr,
    session: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> Result<ServerThread, Error> {
    let open = || {
        let listener = TcpListener::bind(address)?;
        set_socket_timeout(&listener, Timeout::Recv, Some(LOOK_AROUND))?;
        Ok(listener)
    };
    let listener = namespace
        .run(open)
        .map_err(Error::io(format!("serve TCP on {address}")))?;
    Ok(ServerThread::start(move || {
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(super::client::STALLED))?;
        let session = session.clone();
        thread::spawn(move || session(stream));
        Ok(())
    }))
}
