//! Clients whose conns are there from the beginning and stay, whatever the others do.

use lb::{ConnState, ConnTable, Endpoint, FlowKey, InterfaceId};
use lb_testkit::PacketBuilder;
use lb_wire::TcpFlags;

use super::traffic::{addressed, reply_to, segment};
use super::{Soak, Vip};
use crate::CLIENT_SIDE;

/// Of each service.
pub const PER_SERVICE: u32 = 4;

/// One client's conn.
pub struct Regular {
    flow: FlowKey,
    rip: Endpoint,
    /// What comes of it, time and again: from the client, and from the server where answers come through us.
    packets: Vec<(InterfaceId, Vec<u8>)>,
}

/// All of them.
#[derive(Default)]
pub struct Regulars(Vec<Regular>);

impl Regulars {
    /// One more.
    pub fn push(&mut self, regular: Regular) {
        self.0.push(regular);
    }

    /// A packet of one of their conns, chosen by a number.
    pub fn packet(&self, choice: u32) -> Option<&(InterfaceId, Vec<u8>)> {
        let regular = self.0.get(choice as usize % self.0.len().max(1))?;
        let which = choice as usize / self.0.len() % regular.packets.len();
        regular.packets.get(which)
    }

    /// Each conn is there, on the server it was opened with, and established.
    pub fn audit(&self, conns: &ConnTable) {
        for regular in &self.0 {
            let hit = conns.find(&regular.flow);
            let hit = hit.unwrap_or_else(|| panic!("{:?} has lost its conn", regular.flow));
            assert_eq!(conns.conn(hit.conn).rip(), regular.rip, "it has moved");
            let state = conns.state(hit.conn);
            assert!(
                matches!(state, ConnState::Established | ConnState::Udp),
                "{:?} is {state}",
                regular.flow
            );
        }
    }
}

/// Opens the conn of a service's regular number `number`.
pub fn open(soak: &mut Soak, vip: Vip, number: u32) -> Regular {
    let client = addressed(vip.0.addr, [100, 64, 0, 1], 1000 + number);
    let from_client = |flags, acknowledged| {
        let packet: PacketBuilder = segment(client, vip.0, vip.1);
        packet.flags(flags).numbers(1, acknowledged).bytes()
    };
    let opened = soak.exchange(CLIENT_SIDE, &from_client(TcpFlags::SYN, 0));
    let opened = opened.expect("a new conn's packet is forwarded");
    let flow = FlowKey {
        source: client,
        destination: vip.0,
        protocol: vip.1,
    };
    let conns = soak.worker.conns();
    let conn = conns.conn(conns.find(&flow).expect("it was opened").conn);
    let (rip, answers) = (conn.rip(), conn.reply().is_some());
    let mut packets = vec![(CLIENT_SIDE, from_client(TcpFlags::ACK, 1000))];
    if answers {
        let (side, syn_ack) = reply_to(&opened, TcpFlags::SYN.with(TcpFlags::ACK))
            .expect("what goes to a server can be answered");
        soak.exchange(side, &syn_ack);
        packets.extend(reply_to(&opened, TcpFlags::ACK));
    }
    soak.exchange(CLIENT_SIDE, &packets[0].1);
    Regular { flow, rip, packets }
}
