//! Asks a server for a connection to the VIP, on the way that clients' packets take: the server must have the VIP.
//!
//! ```text
//! SYN      our address -> VIP:vport   sent to the server's MAC, or in an IP header to its RIP
//! SYN-ACK  VIP:vport -> our address
//! RST      as the SYN
//! ```
//!
//! The balancer has the VIP as well, so its kernel would neither send the SYN out nor take the answer in (it drops it as
//! martian). Raw sockets send to one address packets that name another, and a packet socket sees what comes in before
//! it is judged.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use lb_wire::TcpFlags;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::net;
use tokio::sync::oneshot;

use super::segment::{Segment, tunnelled};
use crate::{Failure, Way};

/// Who asks for VIPs.
#[derive(Default)]
pub(crate) struct Vips {
    /// By whether they are of IPv6.
    sockets: Mutex<HashMap<bool, Arc<VipSockets>>>,
    asked: AtomicU64,
    secret: RandomState,
}

impl Vips {
    /// Asks the server at `rip` for a connection to `vip`; `way` is not [`Way::Own`].
    pub(crate) async fn ask(
        &self,
        rip: IpAddr,
        vip: SocketAddr,
        way: Way,
        source: Option<IpAddr>,
    ) -> Result<(), Failure> {
        let origin = super::origin(vip, source)?;
        let here = match source {
            Some(source) => source,
            None => address_towards(rip)?,
        };
        // Nobody else has this port as long as we ask.
        let port = Socket::new(Domain::for_address(vip), Type::STREAM, None)?;
        port.bind(&SocketAddr::new(here, 0).into())
            .map_err(super::cannot_bind(origin))?;
        let Some(ours) = port.local_addr()?.as_socket() else {
            return Err(Failure::Network(format!("{here}: no address")));
        };
        let sockets = self.sockets(vip.is_ipv6())?;
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let syn = Segment {
            source: ours,
            destination: vip,
            flags: TcpFlags::SYN,
            sequence: self.secret.hash_one(number) as u32,
            acknowledgement: 0,
        };
        let (sender, answer) = oneshot::channel();
        let _waiting = Waiting::new(&sockets, syn, sender);
        sockets.send(&syn, here, rip, way)?;
        let Ok(answer) = answer.await else {
            return Err(Failure::Network("the socket is gone".to_owned()));
        };
        if answer.flags.has(TcpFlags::RST) {
            return Err(Failure::Refused);
        }
        let rst = Segment {
            flags: TcpFlags::RST,
            sequence: answer.acknowledgement,
            ..syn
        };
        sockets.send(&rst, here, rip, way)?;
        Ok(())
    }

    fn sockets(&self, v6: bool) -> Result<Arc<VipSockets>, Failure> {
        let mut all = self.sockets.lock();
        if let Some(sockets) = all.get(&v6) {
            return Ok(Arc::clone(sockets));
        }
        let sockets = Arc::new(VipSockets::open(v6)?);
        tokio::spawn(receive(Arc::downgrade(&sockets)));
        all.insert(v6, Arc::clone(&sockets));
        Ok(sockets)
    }
}

/// The address that the kernel would talk to `rip` from.
fn address_towards(rip: IpAddr) -> Result<IpAddr, Failure> {
    let socket = UdpSocket::bind(super::origin(SocketAddr::new(rip, 0), None)?)?;
    // Nothing is sent; the port does not matter.
    socket.connect((rip, 9))?;
    Ok(socket.local_addr()?.ip())
}

struct VipSockets {
    sender: Socket,
    /// Not of UDP; but receiving is the same for all sockets of datagrams.
    receiver: net::UdpSocket,
    waiting: Mutex<HashMap<u32, (Segment, oneshot::Sender<Segment>)>>,
}

/// A SYN on its way; forgotten when nobody waits for it any more.
struct Waiting<'a> {
    sockets: &'a VipSockets,
    acknowledgement: u32,
}

impl<'a> Waiting<'a> {
    fn new(sockets: &'a VipSockets, syn: Segment, sender: oneshot::Sender<Segment>) -> Waiting<'a> {
        let acknowledgement = syn.sequence.wrapping_add(1);
        sockets
            .waiting
            .lock()
            .insert(acknowledgement, (syn, sender));
        Waiting {
            sockets,
            acknowledgement,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.sockets.waiting.lock().remove(&self.acknowledgement);
    }
}

/// `IPPROTO_RAW`: packets come with their IP headers (raw(7)).
const WITH_HEADERS: i32 = 255;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

impl VipSockets {
    fn open(v6: bool) -> Result<VipSockets, Failure> {
        let (domain, ether_type) = match v6 {
            true => (Domain::IPV6, ETH_P_IPV6),
            false => (Domain::IPV4, ETH_P_IP),
        };
        let sender = Socket::new(domain, Type::RAW, Some(Protocol::from(WITH_HEADERS)))?;
        sender.set_nonblocking(true)?;
        let ether_type = Protocol::from(i32::from(ether_type.to_be()));
        let receiver = Socket::new(Domain::PACKET, Type::DGRAM, Some(ether_type))?;
        receiver.set_nonblocking(true)?;
        // What came before is looked at like all else.
        receiver.attach_filter(&filter(v6))?;
        Ok(VipSockets {
            sender,
            receiver: net::UdpSocket::from_std(receiver.into())?,
            waiting: Mutex::default(),
        })
    }

    fn send(&self, segment: &Segment, here: IpAddr, rip: IpAddr, way: Way) -> io::Result<()> {
        let packet = match way {
            Way::Ipip => tunnelled((here, rip), &segment.packet()),
            Way::Own | Way::Direct => segment.packet(),
        };
        // Where it goes is said here, whatever address stands in it.
        let to = SockAddr::from(SocketAddr::new(rip, 0));
        self.sender.send_to(&packet, &to).map(drop)
    }

    /// Tells who waits for what has come.
    async fn deliver(&self) -> io::Result<()> {
        let mut bytes = [0; 256];
        let length = self.receiver.recv(&mut bytes).await?;
        let Some(answer) = Segment::parse(&bytes[..length]) else {
            return Ok(());
        };
        let mut waiting = self.waiting.lock();
        let is_for =
            |syn: &Segment| (answer.source, answer.destination) == (syn.destination, syn.source);
        if waiting
            .get(&answer.acknowledgement)
            .is_some_and(|(syn, _)| is_for(syn))
            && let Some((_, sender)) = waiting.remove(&answer.acknowledgement)
        {
            // Whoever gave up does not wait any more.
            let _ = sender.send(answer);
        }
        Ok(())
    }
}

async fn receive(sockets: Weak<VipSockets>) {
    // An error is of an interface that goes away, or of one packet.
    while let Some(sockets) = sockets.upgrade() {
        let _ = sockets.deliver().await;
    }
}

/// Lets TCP segments through that have RST, or SYN and ACK (bpf(4), linux/filter.h).
fn filter(v6: bool) -> Vec<SockFilter> {
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_BYTE_BEHIND_HEADER: u16 = 0x50;
    const MEASURE_HEADER: u16 = 0xb1;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_SET: u16 = 0x45;
    const AND: u16 = 0x54;
    const RETURN: u16 = 0x06;
    const TCP: u32 = 6;
    const RST: u32 = TcpFlags::RST.0 as u32;
    const SYN_ACK: u32 = TcpFlags::SYN.with(TcpFlags::ACK).0 as u32;
    let protocol = |at, rest| {
        [
            SockFilter::new(LOAD_BYTE, 0, 0, at),
            // To the last one.
            SockFilter::new(JUMP_IF_EQUAL, 0, rest, TCP),
        ]
    };
    let mut program = match v6 {
        true => vec![SockFilter::new(LOAD_BYTE, 0, 0, 40 + 13)],
        false => vec![
            SockFilter::new(MEASURE_HEADER, 0, 0, 0),
            SockFilter::new(LOAD_BYTE_BEHIND_HEADER, 0, 0, 13),
        ],
    };
    program.extend([
        SockFilter::new(JUMP_IF_SET, 2, 0, RST),
        SockFilter::new(AND, 0, 0, SYN_ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN_ACK),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]);
    let rest = program.len() as u8 - 1;
    let at = if v6 { 6 } else { 9 };
    protocol(at, rest).into_iter().chain(program).collect()
}
