//! Sockets for a multicast group on one interface (kernel `make_send_sock`, `make_receive_sock`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use lb_ipvsadm::Daemon;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};

/// How soon a daemon that waits for messages notices that it is to end.
const PATIENCE: Duration = Duration::from_millis(100);

/// A burst of messages that waits while workers take conns in.
const BACKLOG: usize = 4 << 20;

/// What a complete daemon says of its group.
struct Group {
    address: SocketAddr,
    index: u32,
    ttl: u8,
}

impl Group {
    fn of(daemon: &Daemon) -> io::Result<Group> {
        let address = daemon.group.unwrap_or(super::GROUP);
        let port = daemon.port.unwrap_or(super::PORT);
        Ok(Group {
            address: SocketAddr::new(address, port),
            index: super::index(&daemon.interface)
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?,
            ttl: daemon.ttl.unwrap_or(super::TTL),
        })
    }

    fn socket(&self, interface: &str) -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(self.address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        // Multicast of this socket leaves and enters here, whatever the routes say.
        socket.bind_device(Some(interface.as_bytes()))?;
        Ok(socket)
    }
}

/// Sends to the daemon's group.
pub fn sender(daemon: &Daemon) -> io::Result<UdpSocket> {
    let group = Group::of(daemon)?;
    let socket = group.socket(&daemon.interface)?;
    match group.address.ip() {
        IpAddr::V4(_) => {
            socket.set_multicast_loop_v4(false)?;
            socket.set_multicast_ttl_v4(group.ttl.into())?;
        }
        IpAddr::V6(_) => {
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_hops_v6(group.ttl.into())?;
            socket.set_multicast_if_v6(group.index)?;
        }
    }
    socket.connect(&SockAddr::from(group.address))?;
    Ok(socket.into())
}

/// The address that a [`sender`] of this group has.
pub fn own_address(daemon: &Daemon) -> io::Result<IpAddr> {
    Ok(sender(daemon)?.local_addr()?.ip())
}

/// Receives what is sent to the daemon's group.
pub fn receiver(daemon: &Daemon) -> io::Result<UdpSocket> {
    let group = Group::of(daemon)?;
    let socket = group.socket(&daemon.interface)?;
    socket.set_reuse_address(true)?;
    // The kernel gives less if the system allows no more.
    socket.set_recv_buffer_size(BACKLOG)?;
    socket.bind(&SockAddr::from(group.address))?;
    match group.address.ip() {
        IpAddr::V4(v4) => {
            let index = InterfaceIndexOrAddress::Index(group.index);
            let v4: Ipv4Addr = v4;
            socket.join_multicast_v4_n(&v4, &index)?;
        }
        IpAddr::V6(v6) => socket.join_multicast_v6(&v6, group.index)?,
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}
