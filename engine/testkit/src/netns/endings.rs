//! Connections that end in other ways than by both sides closing: reset by one side, or closed by one side alone.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::client::connect;
use super::servers::{ServerThread, serve_tcp};
use super::{Error, Namespace};

/// How a connection ends; a client says so in its first line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The server resets it.
    ServerResets,
    /// The client resets it.
    ClientResets,
    /// The server closes its half at once; the client goes on sending.
    ServerClosesFirst,
}

impl Ending {
    /// All of them.
    pub const ALL: [Ending; 3] = [
        Ending::ServerResets,
        Ending::ClientResets,
        Ending::ServerClosesFirst,
    ];

    fn word(self) -> &'static str {
        match self {
            Ending::ServerResets => "reset me",
            Ending::ClientResets => "wait for me",
            Ending::ServerClosesFirst => "close first",
        }
    }
}

/// What a client sends after the server has closed its half.
const SENT_AFTERWARDS: usize = 200_000;

/// Ends connections as clients ask it to, and remembers how it saw them end.
pub struct EndingServer {
    seen: Arc<[AtomicU64; Ending::ALL.len()]>,
    _thread: ServerThread,
}

impl EndingServer {
    /// Serves `address`.
    ///
    /// # Errors
    ///
    /// If the address is not the namespace's or is taken.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<EndingServer, Error> {
        let seen = Arc::new([const { AtomicU64::new(0) }; Ending::ALL.len()]);
        let count = Arc::clone(&seen);
        let thread = serve_tcp(namespace, address, move |stream| {
            let ending = serve(stream)?;
            count[ending as usize].fetch_add(1, Ordering::Relaxed);
            Ok(())
        })?;
        Ok(EndingServer {
            seen,
            _thread: thread,
        })
    }

    /// How many connections it saw end so, as they should.
    pub fn seen(&self, ending: Ending) -> u64 {
        self.seen[ending as usize].load(Ordering::Relaxed)
    }
}

/// One connection, to the end that its client asked for.
fn serve(mut stream: TcpStream) -> io::Result<Ending> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let asked = Ending::ALL.iter().find(|e| e.word() == line.trim_end());
    let ending = *asked.ok_or_else(|| io::Error::other("no such ending"))?;
    match ending {
        Ending::ServerResets => reset(stream)?,
        Ending::ClientResets => {
            stream.write_all(b"waiting\n")?;
            match lines.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
        }
        Ending::ServerClosesFirst => {
            stream.shutdown(Shutdown::Write)?;
            let received = io::copy(&mut lines, &mut io::sink())?;
            if received != SENT_AFTERWARDS as u64 {
                return Err(io::Error::other(format!("{received} bytes")));
            }
        }
    }
    Ok(ending)
}

/// Makes a connection and takes it to its end; the client's side of it must look as it should.
///
/// # Errors
///
/// If the connection fails, stalls, or ends otherwise.
pub fn end_connection(client: &Namespace, server: SocketAddr, ending: Ending) -> io::Result<()> {
    client.run(|| {
        let mut stream = connect(server)?;
        stream.write_all(format!("{}\n", ending.word()).as_bytes())?;
        let mut buffer = [0; 16];
        match (ending, stream.read(&mut buffer)) {
            (Ending::ServerResets, Err(error))
                if error.kind() == io::ErrorKind::ConnectionReset =>
            {
                Ok(())
            }
            (Ending::ClientResets, Ok(1..)) => reset(stream),
            (Ending::ServerClosesFirst, Ok(0)) => stream.write_all(&[7; SENT_AFTERWARDS]),
            (_, other) => Err(io::Error::other(format!("{ending:?}: {other:?}"))),
        }
    })
}

/// Closes without waiting for what was sent, which says RST instead of FIN.
fn reset(stream: TcpStream) -> io::Result<()> {
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}
