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

use lb_model::{Conn, Direction, Endpoint, HopCache, Mode, Replies, Work};

use crate::translate::{replace_destination, replace_source};

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

    fn rewrite(&self, group: &mut [Work<'_>], _hops: &mut HopCache) {
        for Work {
            packet,
            conn,
            direction,
        } in group
        {
            match direction {
                Direction::Inbound => {
                    let rip = conn.rip();
                    packet.route_to = rip.addr;
                    replace_destination(packet, rip);
                }
                Direction::Outbound => {
                    packet.route_to = conn.client().addr;
                    replace_source(packet, conn.vip());
                }
            }
        }
    }
}
