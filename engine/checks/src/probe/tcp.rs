//! Connects, and goes away without a word.

use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use super::{cannot_bind, origin};
use crate::Failure;

pub async fn ask(address: SocketAddr, source: Option<IpAddr>) -> Result<(), Failure> {
    connect(address, source).await.map(drop)
}

/// A connection that ends with RST, so that thousands of checks a minute leave nothing in TIME_WAIT on either side.
pub async fn connect(address: SocketAddr, source: Option<IpAddr>) -> Result<TcpStream, Failure> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if source.is_some() {
        let origin = origin(address, source)?;
        socket.bind(origin).map_err(cannot_bind(origin))?;
    }
    socket.set_zero_linger()?;
    Ok(socket.connect(address).await?)
}
