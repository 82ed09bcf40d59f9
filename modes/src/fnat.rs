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

use lb_model::{Conn, Direction, Endpoint, HopCache, Mode, Replies, Work};

use crate::translate::replace_both;

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

    fn endpoints(&self, conn: &Conn, direction: Direction) -> (Endpoint, Endpoint) {
        match direction {
            Direction::Inbound => (conn.source(), conn.rip),
            Direction::Outbound => (conn.flow.destination, conn.flow.source),
        }
    }

    fn rewrite(&self, group: &mut [Work<'_>], _hops: &mut HopCache) {
        for Work {
            packet,
            conn,
            direction,
        } in group
        {
            let (source, destination) = self.endpoints(conn, *direction);
            packet.route_to = destination.addr;
            replace_both(packet, source, destination);
        }
    }
}
