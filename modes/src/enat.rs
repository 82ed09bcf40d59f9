//! ENAT (Alibaba's name for it): the destination becomes the server, the source becomes a port of the VIP, and a component on
//! the server (`lbrs enat`) answers the client itself.
//!
//! ```text
//!  client                  balancer                         server (anywhere that IP reaches)
//!    | CIP:cport > VIP:vport  |                                |
//!    | ---------------------> |  src := VIP:lport              |
//!    |                        |  dst := RIP:rport              |
//!    |                        |  option: CIP:cport, vport      |
//!    |                        | VIP:lport > RIP:rport          |
//!    |                        | -----------------------------> |
//!    |                        |                                | component: VIP:lport is CIP:cport's
//!    | VIP:vport > CIP:cport                                   |
//!    | <------------------------------------------------------ |
//! ```
//!
//! Ports can be mapped. What the component does not know of (it was started late, or not at all) comes to us as in full NAT, and
//! is translated as there.

use lb_model::{
    ClientAddress, Conn, Direction, Endpoint, HopCache, Introduction, Mode, Packet, Protocol,
    Replies,
};

use crate::both_ends;
use crate::tcp_option::Form;

/// The `enat` mode.
pub struct Enat;

impl Mode for Enat {
    fn name(&self) -> &'static str {
        "enat"
    }

    fn maps_ports(&self) -> bool {
        true
    }

    fn replies(&self) -> Replies {
        Replies::ByAgent
    }

    fn introduction(&self, protocol: Protocol, _asked: Option<ClientAddress>) -> Introduction {
        match protocol {
            Protocol::Tcp => Introduction::TcpOption,
            Protocol::Udp => Introduction::IP_OPTION,
            Protocol::Sctp => Introduction::Nothing,
        }
    }

    fn endpoints(&self, conn: Conn<'_>, direction: Direction) -> (Endpoint, Endpoint) {
        both_ends::endpoints(conn, direction)
    }

    fn rewrite(
        &self,
        packet: &mut Packet,
        conn: Conn<'_>,
        direction: Direction,
        hops: &mut HopCache,
    ) {
        both_ends::rewrite(packet, conn, direction, Form::Enat, hops);
    }
}
