//! A conn and a persistence template, in the kernel's words.

use lb_model::{Addr, ConnState, Endpoint, FlowKey, Protocol};

/// Bits of [`SyncConn::flags`] (kernel `uapi/linux/ip_vs.h`, `IP_VS_CONN_F_*`).
pub mod flags {
    /// How packets are forwarded: one of [`Method`](super::Method)'s numbers.
    pub const METHOD: u32 = 0x0007;
    /// The server's packets do not come through us.
    pub const NO_OUTPUT: u32 = 0x0080;
    /// The conn does not count as active.
    pub const INACTIVE: u32 = 0x0100;
    /// Outbound sequence numbers are changed.
    pub const OUT_SEQUENCE: u32 = 0x0200;
    /// Inbound sequence numbers are changed.
    pub const IN_SEQUENCE: u32 = 0x0400;
    /// The client's port is not known yet.
    pub const NO_CLIENT_PORT: u32 = 0x0800;
    /// A persistence template: no conn, but what conns are made by.
    pub const TEMPLATE: u32 = 0x1000;
}

/// `IP_VS_CONN_F_FWD_MASK`'s values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// NAT.
    Masquerading = 0,
    /// The balancer is the server.
    Local = 1,
    /// TUN.
    Tunnel = 2,
    /// DR.
    DirectRouting = 3,
    /// To where it was going anyway.
    Bypass = 4,
}

impl Method {
    /// That of lbd's mode of this name; `None` for those that the protocol has no word for: full NAT and ENAT, whose conns
    /// have a local address besides.
    pub fn of_mode(name: &str) -> Option<Method> {
        match name {
            "nat" => Some(Method::Masquerading),
            "tun" => Some(Method::Tunnel),
            "dr" => Some(Method::DirectRouting),
            _ => None,
        }
    }

    /// The mode of lbd that it is.
    pub fn mode(self) -> Option<&'static str> {
        match self {
            Method::Masquerading => Some("nat"),
            Method::Tunnel => Some("tun"),
            Method::DirectRouting => Some("dr"),
            Method::Local | Method::Bypass => None,
        }
    }

    fn from_flags(flags: u32) -> Option<Method> {
        let methods = [
            Method::Masquerading,
            Method::Local,
            Method::Tunnel,
            Method::DirectRouting,
            Method::Bypass,
        ];
        methods.get((flags & flags::METHOD) as usize).copied()
    }
}

/// The number of a conn's state; what it means is its protocol's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State(pub u16);

impl State {
    /// That of a conn of ours.
    pub fn of(state: ConnState) -> State {
        State(match state {
            // UDP's only one is its first.
            ConnState::Udp => 0,
            // The kernel's numbers, in its order.
            tcp => tcp as u16,
        })
    }

    /// The state of a conn of `protocol`; the first of its states if there is none of this number, as the kernel takes it.
    pub fn conn_state(self, protocol: Protocol) -> ConnState {
        match protocol {
            Protocol::Udp => ConnState::Udp,
            _ => {
                let tcp = ConnState::ALL
                    .iter()
                    .filter(|state| **state != ConnState::Udp);
                let found = tcp.copied().nth(self.0.into());
                found.unwrap_or(ConnState::None)
            }
        }
    }
}

/// A conn as it is told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncConn {
    /// Of the client's packets.
    pub protocol: Protocol,
    /// [`flags`].
    pub flags: u32,
    /// Its state.
    pub state: State,
    /// CIP:cport.
    pub client: Endpoint,
    /// VIP:vport.
    pub vip: Endpoint,
    /// RIP:rport.
    pub server: Endpoint,
    /// The mark of its service; 0: none.
    pub mark: u32,
    /// Seconds that it lives without a packet; 0: as its state says.
    pub timeout_s: u32,
}

impl SyncConn {
    /// How its packets are forwarded; `None`: by a number that nobody knows.
    pub fn method(&self) -> Option<Method> {
        Method::from_flags(self.flags)
    }

    /// The flow of its client's packets.
    pub fn flow(&self) -> FlowKey {
        FlowKey {
            source: self.client,
            destination: self.vip,
            protocol: self.protocol,
        }
    }
}

/// What the clients of a template ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AskedFor {
    /// A service's address; port 0 stands for every port of a service with port 0.
    Service {
        /// Of its packets.
        protocol: Protocol,
        /// VIP:vport.
        vip: Endpoint,
    },
    /// What has this mark.
    Mark(u32),
}

/// What a template is found by: the client's address under the service's netmask, and what it asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SyncTemplateKey {
    /// The client, or the first address of its network.
    pub client: Addr,
    /// What it asks for.
    pub asked_for: AskedFor,
}

/// A persistence template as it is told of: no conn, but what a client's conns are made by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncTemplate {
    /// What it is found by.
    pub key: SyncTemplateKey,
    /// Where it leads. Without a port: to the one that the client asks for.
    pub server: Endpoint,
    /// [`flags`].
    pub flags: u32,
    /// Whether a conn of it was ever established (kernel `IP_VS_CTPL_S_ASSURED`).
    pub is_assured: bool,
    /// Seconds that it lives without a conn; 0: as its service says.
    pub timeout_s: u32,
}
