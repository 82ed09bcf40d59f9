//! A TCP client that writes into its packets what it likes, from an address that no kernel has.
//!
//! It sends through a raw socket of the client and sees answers on a packet socket there; router and balancer are
//! told that the address is the client's, whose kernel takes no notice of what is not for it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use lb_testkit::netns::{Family, Lab};
use lb_testkit::pkt;
use lb_wire::TcpFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, recv, sendto, socket,
};

/// `ETH_P_ALL` of linux/if_ether.h, in network order as the kernel wants it.
const EVERY_PROTOCOL: u32 = (3u16.to_be()) as u32;

/// When an answer is given up.
const LIMIT: Duration = Duration::from_secs(20);

/// Where the caller is: beside the client, on its network.
pub fn caller_address(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.0.0.77".parse(),
        Family::V6 => "2001:db8::77".parse(),
    }
    .expect("an address")
}

/// One TCP connection.
pub struct Caller {
    from: SocketAddr,
    to: SocketAddr,
    out: OwnedFd,
    seen: OwnedFd,
    sequence: u32,
    acknowledgement: u32,
}

/// Options for the three segments that may have them.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// Of the SYN.
    pub syn: Vec<u8>,
    /// Of the handshake's last segment.
    pub ack: Vec<u8>,
    /// Of the request.
    pub data: Vec<u8>,
}

/// A segment that came back.
struct Segment {
    flags: u8,
    sequence: u32,
    payload: Vec<u8>,
}

/// Sends `request` to `to` on a connection of its own, and returns the first data that comes back.
pub fn call(
    lab: &Lab,
    from: SocketAddr,
    to: SocketAddr,
    options: &Options,
    request: &[u8],
) -> io::Result<String> {
    let mut caller = Caller::new(lab, from, to)?;
    caller.send(TcpFlags::SYN, &options.syn, &[])?;
    let answer = caller.receive(|segment| segment.flags & TcpFlags::SYN.0 != 0)?;
    caller.sequence += 1;
    caller.acknowledgement = answer.sequence.wrapping_add(1);
    caller.send(TcpFlags::ACK, &options.ack, &[])?;
    caller.send(TcpFlags::ACK.with(TcpFlags::PSH), &options.data, request)?;
    caller.sequence += request.len() as u32;
    let answer = caller.receive(|segment| !segment.payload.is_empty())?;
    caller.acknowledgement = answer.sequence.wrapping_add(answer.payload.len() as u32);
    caller.send(TcpFlags::RST.with(TcpFlags::ACK), &[], &[])?;
    Ok(String::from_utf8_lossy(&answer.payload).into_owned())
}

impl Caller {
    fn new(lab: &Lab, from: SocketAddr, to: SocketAddr) -> io::Result<Caller> {
        make_known(lab, from.ip());
        lab.client.run(|| {
            let family = match from {
                SocketAddr::V4(_) => AddressFamily::INET,
                SocketAddr::V6(_) => AddressFamily::INET6,
            };
            let every = std::num::NonZeroU32::new(EVERY_PROTOCOL).map(Protocol::from_raw);
            let seen = socket(AddressFamily::PACKET, SocketType::DGRAM, every)?;
            set_socket_timeout(&seen, Timeout::Recv, Some(LIMIT))?;
            Ok(Caller {
                from,
                to,
                out: socket(family, SocketType::RAW, Some(rustix::net::ipproto::RAW))?,
                seen,
                sequence: 1_000_000,
                acknowledgement: 0,
            })
        })
    }

    fn send(&self, flags: TcpFlags, options: &[u8], payload: &[u8]) -> io::Result<()> {
        let frame = pkt()
            .ip(self.from.ip(), self.to.ip())
            .tcp(self.from.port(), self.to.port())
            .flags(flags)
            .numbers(self.sequence, self.acknowledgement)
            .tcp_options(options)
            .payload(payload)
            .bytes();
        // A raw socket has no ports.
        let to = SocketAddr::new(self.to.ip(), 0);
        sendto(&self.out, &frame[14..], SendFlags::empty(), &to)?;
        Ok(())
    }

    fn receive(&self, wanted: impl Fn(&Segment) -> bool) -> io::Result<Segment> {
        let mut packet = vec![0; 65536];
        loop {
            let (length, _) = recv(&self.seen, &mut packet[..], RecvFlags::empty())?;
            match self.segment(&packet[..length]) {
                Some(segment) if segment.flags & TcpFlags::RST.0 != 0 => {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Some(segment) if wanted(&segment) => return Ok(segment),
                _ => {}
            }
        }
    }

    /// The segment in an IP packet, if it is one of ours.
    fn segment(&self, packet: &[u8]) -> Option<Segment> {
        let (tcp, protocol, source, destination): (_, _, IpAddr, IpAddr) =
            match packet.first()? >> 4 {
                4 => (
                    packet.get(usize::from(packet[0] & 15) * 4..usize::from(word(packet, 2)?))?,
                    packet[9],
                    packet.get(12..)?.first_chunk::<4>().copied()?.into(),
                    packet.get(16..)?.first_chunk::<4>().copied()?.into(),
                ),
                6 => (
                    packet.get(40..40 + usize::from(word(packet, 4)?))?,
                    packet[6],
                    packet.get(8..)?.first_chunk::<16>().copied()?.into(),
                    packet.get(24..)?.first_chunk::<16>().copied()?.into(),
                ),
                _ => return None,
            };
        let ours = protocol == 6
            && (source, word(tcp, 0)?) == (self.to.ip(), self.to.port())
            && (destination, word(tcp, 2)?) == (self.from.ip(), self.from.port());
        ours.then(|| {
            Some(Segment {
                flags: *tcp.get(13)?,
                sequence: u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?),
                payload: tcp.get(usize::from(tcp[12] >> 4) * 4..)?.to_vec(),
            })
        })?
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Tells those who forward to the client's network to bring what is for `address` to the client.
fn make_known(lab: &Lab, address: IpAddr) {
    let link = lab.client.ip("-oneline link show eth0").expect("a link");
    let mut words = link.split_whitespace();
    let mac = words.find(|word| *word == "link/ether").and(words.next());
    let mac = mac.expect("a veth has a MAC");
    for host in lab.router().into_iter().chain([&lab.balancer]) {
        host.ip(&format!(
            "neigh replace {address} lladdr {mac} dev eth0 nud permanent"
        ))
        .expect("a neighbour");
    }
}
