//! What the tests of the table's rooms share.

use std::sync::Arc;
use std::time::Duration;

use lb_model::{
    ConnId, Dest, Direction, FlowKey, Hit, Introduction, NewConn, Protocol, Replies, Time,
};
use lb_wire::TcpFlags;

use super::ConnTable;
use crate::{LocalPorts, Timeouts};

pub const SYN: TcpFlags = TcpFlags::SYN;
pub const ACK: TcpFlags = TcpFlags::ACK;

pub fn dest() -> Arc<Dest> {
    Arc::new(Dest::new("10.1.0.11:8080".parse().expect("valid"), 1))
}

pub fn conn(cport: u16, protocol: Protocol, dest: &Arc<Dest>, two_way: bool) -> NewConn<'_> {
    let client = format!("192.0.2.1:{cport}").parse().expect("valid");
    let flow = FlowKey {
        source: client,
        destination: "10.0.0.100:80".parse().expect("valid"),
        protocol,
    };
    NewConn {
        flow,
        dest,
        rip: dest.rip(),
        local: None,
        replies: if two_way {
            Replies::ToClient
        } else {
            Replies::Direct
        },
        introduction: Introduction::Nothing,
        mode: 0,
    }
}

pub fn table(capacity: u32) -> ConnTable {
    let ports = LocalPorts::new(1024..=1025, 0);
    ConnTable::new(capacity, Timeouts::default(), ports)
}

pub fn inbound(conn: ConnId) -> Hit {
    Hit {
        conn,
        direction: Direction::Inbound,
    }
}

pub fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}
