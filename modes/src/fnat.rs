//! Full NAT (DPVS; ipvsadm `-b` there): the destination becomes the server and the source becomes an address of ours, so that
//! the server answers us wherever it is.
//!
//! ```text
//!  client                  balancer                         server (anywhere that IP reaches)
//!    | CIP:cport > VIP:vport  |                                |
//!    | ---------------------> |  src := LIP:lport              |
//!    |                        |  dst := RIP:rport              |
//!    |                        | LIP:lport > RIP:rport          |
//!    |                        | -----------------------------> |
//!    |                        |          RIP:rport > LIP:lport |
//!    |  src := VIP:vport      | <----------------------------- |
//!    |  dst := CIP:cport      |                                |
//!    | VIP:vport > CIP:cport  |                                |
//!    | <--------------------- |                                |
//! ```
//!
//! Ports can be mapped. The server needs no VIP and no route of its own; it does not see the client but for what is told
//! it of the client on the way.

use lb_model::{
    ClientAddress, Conn, Direction, Endpoint, HopCache, Introduction, Mode, Packet, Protocol,
    Replies,
};

use crate::tcp_option::Form;
use crate::{both_ends, proxy};

/// The `fnat` mode.
pub struct FullNat;

impl Mode for FullNat {
    fn name(&self) -> &'static str {
        "fnat"
    }

    fn maps_ports(&self) -> bool {
        true
    }

    fn replies(&self) -> Replies {
        Replies::ToLocalAddress
    }

    fn introduction(&self, protocol: Protocol, asked: Option<ClientAddress>) -> Introduction {
        match (protocol, asked) {
            (Protocol::Tcp, Some(ClientAddress::None)) => Introduction::Nothing,
            (Protocol::Tcp, _) => Introduction::TcpOption,
            (Protocol::Udp, Some(ClientAddress::Uoa)) => Introduction::IP_OPTION,
            (Protocol::Udp, Some(ClientAddress::ProxyV2)) => Introduction::ProxyV2,
            (Protocol::Udp | Protocol::Sctp, _) => Introduction::Nothing,
        }
    }

    fn endpoints(&self, conn: Conn<'_>, direction: Direction) -> (Endpoint, Endpoint) {
        both_ends::endpoints(conn, direction)
    }

    fn overhead(&self, conn: Conn<'_>, direction: Direction) -> usize {
        match direction {
            Direction::Inbound => proxy::overhead(conn),
            Direction::Outbound => 0,
        }
    }

    fn rewrite(
        &self,
        packet: &mut Packet,
        conn: Conn<'_>,
        direction: Direction,
        hops: &mut HopCache,
    ) {
        both_ends::rewrite(packet, conn, direction, Form::Toa, hops);
    }
}
