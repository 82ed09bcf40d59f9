//! NAT, masquerading (ipvsadm `-m`): the destination becomes the server on the way in, the source becomes the VIP on
//! the way out.
//!
//! ```text
//!  client                  balancer                         server (its gateway: us)
//!    | CIP:cport > VIP:vport  |                                |
//!    | ---------------------> |  dst := RIP:rport              |
//!    |                        | CIP:cport > RIP:rport          |
//!    |                        | -----------------------------> |
//!    |                        |          RIP:rport > CIP:cport |
//!    |  src := VIP:vport      | <----------------------------- |
//!    |  VIP:vport > CIP:cport |                                |
//!    | <--------------------- |                                |
//! ```
//!
//! Ports can be mapped. The server needs no VIP, but must route its replies through us.

use lb_model::{Conn, Direction, End, Endpoint, HopCache, Mode, Packet, Replies};

use crate::translate::replace;

/// The `nat` mode.
pub struct Nat;

impl Mode for Nat {
    fn name(&self) -> &'static str {
        "nat"
    }

    fn maps_ports(&self) -> bool {
        true
    }

    fn replies(&self) -> Replies {
        Replies::ToClient
    }

    fn endpoints(&self, conn: Conn<'_>, direction: Direction) -> (Endpoint, Endpoint) {
        match direction {
            Direction::Inbound => (conn.client(), conn.rip()),
            Direction::Outbound => (conn.vip(), conn.client()),
        }
    }

    fn rewrite(
        &self,
        packet: &mut Packet,
        conn: Conn<'_>,
        direction: Direction,
        _hops: &mut HopCache,
    ) {
        match direction {
            Direction::Inbound => replace(packet, conn, None, Some(End::Rip)),
            Direction::Outbound => replace(packet, conn, Some(End::Vip), None),
        }
    }
}
