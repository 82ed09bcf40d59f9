//! The questions, a file each. None of them ends by itself if nothing comes: who asks sets the limit.

pub mod dns;
pub mod echo;
mod http;
mod script;
pub mod segment;
mod tcp;
mod tls;
mod udp;
mod vip;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{Failure, Probe, Target, Udp, Way};

/// What questions of all servers share.
#[derive(Default)]
pub(crate) struct Tools {
    echo: echo::Echo,
    tls: tls::TlsClients,
    vips: vip::Vips,
}

impl Tools {
    /// Asks a server.
    pub(crate) async fn ask(&self, target: &Target) -> Result<(), Failure> {
        let (address, source) = (target.address(), target.check.source);
        match &target.check.probe {
            Probe::Tcp => tcp::ask(address, source).await,
            Probe::Vip => match (target.vip(), target.way) {
                // Its own address is the end of clients' packets, too.
                (None, _) | (_, Way::Own) => tcp::ask(address, source).await,
                (Some(vip), way) => self.vips.ask(address.ip(), vip, way, source).await,
            },
            Probe::Http(http) => http::ask(address, source, http, &self.tls).await,
            Probe::Udp(udp) => udp::ask(address, source, udp).await,
            Probe::Icmp => self.echo.ask(address.ip(), source).await,
            Probe::Dns(dns) => udp::ask_name(address, source, dns).await,
            Probe::Script(words) => script::ask(words, target).await,
        }
    }

    /// What it means that nothing came in time.
    pub(crate) fn silence(&self, target: &Target) -> Result<(), Failure> {
        match &target.check.probe {
            Probe::Udp(Udp { expect: None, .. }) => Ok(()),
            Probe::Vip if target.way != Way::Own => {
                let vip = target
                    .vip()
                    .map_or(String::new(), |vip| format!(" from {vip}"));
                let timeout = target.check.timeout;
                Err(Failure::Network(format!(
                    "no answer{vip} within {timeout:?}"
                )))
            }
            _ => Err(Failure::Silent(target.check.timeout)),
        }
    }
}

/// Where a socket that talks to `address` begins: at `source`, or wherever the kernel likes.
fn origin(address: SocketAddr, source: Option<IpAddr>) -> Result<SocketAddr, Failure> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = source.unwrap_or(any);
    if source.is_ipv4() != any.is_ipv4() {
        let why = format!("the source {source} is of another address family");
        return Err(Failure::Network(why));
    }
    Ok(SocketAddr::new(source, 0))
}

/// Names our own address in what the kernel says of it.
fn cannot_bind(source: SocketAddr) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Network(format!("{}: {}", source.ip(), Failure::from(error)))
}
