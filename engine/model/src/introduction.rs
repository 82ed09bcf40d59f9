//! How a server that does not see its client is told of it.

use std::fmt;
use std::str::FromStr;

use zerocopy::FromZeros;

/// What a service asks for: how its servers are told of clients that they do not see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAddress {
    /// Not at all.
    None,
    /// TCP: the option that DPVS's `toa` modules read.
    Toa,
    /// UDP: the IP option that DPVS's `uoa` module reads.
    Uoa,
    /// UDP: a PROXY protocol header, version 2, before the payload.
    ProxyV2,
}

impl ClientAddress {
    /// All of them.
    pub const ALL: [ClientAddress; 4] = [
        ClientAddress::None,
        ClientAddress::Toa,
        ClientAddress::Uoa,
        ClientAddress::ProxyV2,
    ];
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ClientAddress::None => "none",
            ClientAddress::Toa => "toa",
            ClientAddress::Uoa => "uoa",
            ClientAddress::ProxyV2 => "proxy-v2",
        })
    }
}

impl FromStr for ClientAddress {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<ClientAddress, &'static str> {
        let mut all = ClientAddress::ALL.into_iter();
        all.find(|one| one.to_string() == s)
            .ok_or("allowed: none, toa, uoa, proxy-v2")
    }
}

/// How far a conn has come with telling its server of the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromZeros)]
#[repr(u8)]
pub enum Introduction {
    /// Nothing is told, or nothing any more.
    Nothing,
    /// A TCP option in every segment from the client: the server's SYN has not been seen.
    TcpOption,
    /// A TCP option in every segment from the client that acknowledges just this: the server's SYN, and nothing after it.
    TcpOptionUntilMoreThan(u32),
    /// An IP option in so many datagrams more. What clients put there themselves is removed, also after that.
    IpOption(u8),
    /// A header before the payload of every datagram.
    ProxyV2,
}

/// As many as DPVS takes (`uoa_max_trail`): a datagram may be lost, and nothing says that one has arrived.
const DATAGRAMS: u8 = 3;

impl Introduction {
    /// By IP option, from the first datagram on.
    pub const IP_OPTION: Introduction = Introduction::IpOption(DATAGRAMS);

    /// What is left of it on a path that proved too narrow. Its packets cannot become smaller for an option of ours; the
    /// first ones have carried it. A header that its server waits for stays.
    #[must_use]
    pub fn shortened(self) -> Introduction {
        match self {
            Introduction::TcpOption | Introduction::TcpOptionUntilMoreThan(_) => {
                Introduction::Nothing
            }
            Introduction::IpOption(_) => Introduction::IpOption(0),
            Introduction::Nothing | Introduction::ProxyV2 => self,
        }
    }
}
