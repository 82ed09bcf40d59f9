//! Sends a datagram and looks at what comes back.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;

use super::http::contains;
use super::{cannot_bind, dns, origin};
use crate::{Dns, Failure, Udp};

pub async fn ask(address: SocketAddr, source: Option<IpAddr>, udp: &Udp) -> Result<(), Failure> {
    let socket = connect(address, source).await?;
    socket.send(&udp.send).await?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    // Without an answer to wait for this ends with an ICMP error or with the patience of who asks.
    let length = socket.recv(&mut answer).await?;
    match &udp.expect {
        Some(wanted) if !contains(&answer[..length], wanted) => Err(Failure::Lacks {
            what: "answer",
            wanted: format!("{:?}", String::from_utf8_lossy(wanted)),
        }),
        _ => Ok(()),
    }
}

pub async fn ask_name(
    address: SocketAddr,
    source: Option<IpAddr>,
    dns: &Dns,
) -> Result<(), Failure> {
    let socket = connect(address, source).await?;
    let id = RandomState::new().hash_one(address) as u16;
    let question = dns::question(id, dns);
    socket.send(&question).await?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut answer).await?;
        if let Some(judged) = dns::judge(&answer[..length], &question) {
            return judged;
        }
    }
}

async fn connect(address: SocketAddr, source: Option<IpAddr>) -> Result<UdpSocket, Failure> {
    let origin = origin(address, source)?;
    let socket = UdpSocket::bind(origin).await.map_err(cannot_bind(origin))?;
    socket.connect(address).await?;
    Ok(socket)
}
