//! Echo requests (ICMP and ICMPv6) through one socket for each family and source.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use crate::Failure;

const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;
const HEADER: usize = 8;
/// What a request carries, and its reply brings back.
const TOKEN: usize = 16;

/// What a request carries, so that its reply is known whatever the kernel makes of the identifier.
pub type Token = [u8; TOKEN];

/// How much a socket puts before an ICMP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Nothing.
    Bare,
    /// The IPv4 header, as raw sockets do.
    Ipv4Header,
}

/// An echo request.
pub fn request(v6: bool, sequence: u16, token: &Token) -> [u8; HEADER + TOKEN] {
    let mut message = [0; HEADER + TOKEN];
    message[0] = if v6 { REQUEST_V6 } else { REQUEST_V4 };
    // Kernels of datagram sockets put the socket's own number here, and both kinds the ICMPv6 checksum.
    message[4..6].copy_from_slice(&token[..2]);
    message[6..8].copy_from_slice(&sequence.to_be_bytes());
    message[HEADER..].copy_from_slice(token);
    if !v6 {
        let checksum = checksum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    message
}

/// The token of an echo reply, if `bytes` are one.
pub fn reply(bytes: &[u8], v6: bool, framing: Framing) -> Option<Token> {
    let message = match framing {
        Framing::Bare => bytes,
        Framing::Ipv4Header => {
            let words = bytes.first()? & 0x0f;
            bytes.get(usize::from(words) * 4..)?
        }
    };
    let kind = if v6 { REPLY_V6 } else { REPLY_V4 };
    if message.get(..2)? != [kind, 0] {
        return None;
    }
    message.get(HEADER..HEADER + TOKEN)?.try_into().ok()
}

/// RFC 1071, over an even number of bytes.
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Who asks for echoes.
#[derive(Default)]
pub(crate) struct Echo {
    sockets: Mutex<Sockets>,
    asked: AtomicU64,
    secret: RandomState,
}

impl Echo {
    pub(crate) async fn ask(&self, address: IpAddr, source: Option<IpAddr>) -> Result<(), Failure> {
        let socket = self.socket(address.is_ipv6(), source)?;
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut token = [0; TOKEN];
        token[..8].copy_from_slice(&self.secret.hash_one(number).to_be_bytes());
        token[8..].copy_from_slice(&number.to_be_bytes());
        let (sender, arrived) = oneshot::channel();
        let waiting = Waiting::new(&socket, token, address, sender);
        let message = request(address.is_ipv6(), number as u16, &token);
        socket.socket.send_to(&message, (address, 0)).await?;
        let arrived = arrived.await;
        drop(waiting);
        arrived.map_err(|_| Failure::Network("the socket is gone".to_owned()))
    }

    fn socket(&self, v6: bool, source: Option<IpAddr>) -> Result<Arc<EchoSocket>, Failure> {
        let mut sockets = self.sockets.lock();
        if let Some(socket) = sockets.get(&(v6, source)) {
            return Ok(Arc::clone(socket));
        }
        let socket = EchoSocket::open(v6, source)?;
        sockets.insert((v6, source), Arc::clone(&socket));
        Ok(socket)
    }
}

/// By whether they are of IPv6, and by their address if it was chosen.
type Sockets = HashMap<(bool, Option<IpAddr>), Arc<EchoSocket>>;

struct EchoSocket {
    /// Not of UDP; but sending and receiving are the same for all sockets of datagrams.
    socket: UdpSocket,
    v6: bool,
    framing: Framing,
    waiting: Mutex<HashMap<Token, (IpAddr, oneshot::Sender<()>)>>,
}

/// A request on its way; forgotten when nobody waits for it any more.
struct Waiting<'a> {
    socket: &'a EchoSocket,
    token: Token,
}

impl<'a> Waiting<'a> {
    fn new(
        socket: &'a EchoSocket,
        token: Token,
        from: IpAddr,
        sender: oneshot::Sender<()>,
    ) -> Waiting<'a> {
        socket.waiting.lock().insert(token, (from, sender));
        Waiting { socket, token }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.socket.waiting.lock().remove(&self.token);
    }
}

impl EchoSocket {
    fn open(v6: bool, source: Option<IpAddr>) -> Result<Arc<EchoSocket>, Failure> {
        let (domain, protocol) = match v6 {
            true => (Domain::IPV6, Protocol::ICMPV6),
            false => (Domain::IPV4, Protocol::ICMPV4),
        };
        // Datagram sockets get their own replies only, but take a group in net.ipv4.ping_group_range; raw ones take
        // CAP_NET_RAW.
        let open = |kind| Socket::new(domain, kind, Some(protocol));
        let (socket, framing) = match (open(Type::DGRAM), v6) {
            (Ok(socket), _) => (socket, Framing::Bare),
            (Err(_), true) => (open(Type::RAW)?, Framing::Bare),
            (Err(_), false) => (open(Type::RAW)?, Framing::Ipv4Header),
        };
        socket.set_nonblocking(true)?;
        if let Some(source) = source {
            let origin = super::origin(SocketAddr::new(any(v6), 0), Some(source))?;
            socket
                .bind(&origin.into())
                .map_err(super::cannot_bind(origin))?;
        }
        let socket = Arc::new(EchoSocket {
            socket: UdpSocket::from_std(socket.into())?,
            v6,
            framing,
            waiting: Mutex::default(),
        });
        tokio::spawn(receive(Arc::downgrade(&socket)));
        Ok(socket)
    }

    /// Tells who waits for what has come.
    async fn deliver(&self) -> io::Result<()> {
        let mut bytes = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut bytes).await?;
        let Some(token) = reply(&bytes[..length], self.v6, self.framing) else {
            return Ok(());
        };
        let mut waiting = self.waiting.lock();
        if waiting
            .get(&token)
            .is_some_and(|(asked, _)| *asked == from.ip())
            && let Some((_, sender)) = waiting.remove(&token)
        {
            // Whoever gave up does not wait any more.
            let _ = sender.send(());
        }
        Ok(())
    }
}

async fn receive(socket: Weak<EchoSocket>) {
    // An error is of one request, as "no route to host": who sent it hears nothing, and says so.
    while let Some(socket) = socket.upgrade() {
        let _ = socket.deliver().await;
    }
}

fn any(v6: bool) -> IpAddr {
    match v6 {
        true => std::net::Ipv6Addr::UNSPECIFIED.into(),
        false => std::net::Ipv4Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = *b"sixteen letters!";

    #[test]
    fn a_request_turned_into_its_reply_is_known_again() {
        for v6 in [false, true] {
            let mut message = request(v6, 7, &TOKEN).to_vec();
            assert_eq!(reply(&message, v6, Framing::Bare), None, "a request");
            message[0] = if v6 { REPLY_V6 } else { REPLY_V4 };
            assert_eq!(reply(&message, v6, Framing::Bare), Some(TOKEN));
            assert_eq!(reply(&message, !v6, Framing::Bare), None);
            for length in 0..message.len() {
                assert_eq!(reply(&message[..length], v6, Framing::Bare), None);
            }
        }
        let mut framed = vec![0x46];
        framed.resize(24, 0);
        framed.extend(request(false, 7, &TOKEN));
        framed[24] = REPLY_V4;
        assert_eq!(reply(&framed, false, Framing::Ipv4Header), Some(TOKEN));
        assert_eq!(reply(&framed[..30], false, Framing::Ipv4Header), None);
        assert_eq!(reply(&[], false, Framing::Ipv4Header), None);
    }

    #[test]
    fn an_ipv4_request_has_a_checksum_that_holds() {
        assert_eq!(checksum(&request(false, 0xfffe, &TOKEN)), 0);
    }
}
