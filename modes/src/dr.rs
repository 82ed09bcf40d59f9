//! Direct routing (ipvsadm `-g`): the packet goes to the server's MAC, and nothing else about it changes.
//!
//! ```text
//!  client                  balancer                         server (VIP on lo)
//!    | CIP:cport > VIP:vport  |                                |
//!    | ---------------------> | CIP:cport > VIP:vport          |
//!    |                        |  dst MAC := MAC of RIP         |
//!    |                        |  src MAC := ours               |
//!    |                        | -----------------------------> |
//!    | VIP:vport > CIP:cport                                   |
//!    | <------------------------------------------------------ |
//! ```
//!
//! The server must be on a segment of ours and hold the VIP without answering ARP for it. Replies do not pass
//! through us, and ports cannot be mapped.

use lb_model::{Conn, Direction, HopCache, Mode, Packet, Replies};

/// The `dr` mode.
pub struct DirectRouting;

impl Mode for DirectRouting {
    fn name(&self) -> &'static str {
        "dr"
    }

    fn maps_ports(&self) -> bool {
        false
    }

    fn replies(&self) -> Replies {
        Replies::Direct
    }

    fn rewrite(
        &self,
        _packet: &mut Packet,
        _conn: Conn<'_>,
        _direction: Direction,
        _hops: &mut HopCache,
    ) {
    }
}
