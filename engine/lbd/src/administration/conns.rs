//! Conns and templates as ipvsadm lists them.

use std::net::{IpAddr, SocketAddr};

use lb::{Asked, ConnRecord, Endpoint, Port, Template, Time, Worker};
use lb_ipvsadm::{ConnRow, EntryState, Next};

use super::whole_seconds;

/// The port that the kernel gives to a template that must not be found any more (`ip_vs_check_template`).
const FORGOTTEN: u16 = 0xffff;

/// The conns and templates of all workers.
pub trait Conns {
    /// Hands all to `each`, until that says stop.
    fn each(&self, each: &mut dyn FnMut(&ConnRow<'_>) -> Next);
    /// For how many conns there is room.
    fn capacity(&self) -> u64;
}

/// The conns of one worker, which stands still.
pub struct ConnsOf<'a, P> {
    pub worker: &'a Worker<P>,
    pub now: Time,
}

impl<P: Port> Conns for ConnsOf<'_, P> {
    fn each(&self, each: &mut dyn FnMut(&ConnRow<'_>) -> Next) {
        let table = self.worker.conns();
        let templates = table.templates().iter();
        let templates = templates.map(|template| template_row(template, self.now));
        let conns = table
            .iter(self.now)
            .map(|view| conn_row(&ConnRecord::of(&view, 0)));
        for row in templates.chain(conns) {
            if each(&row) == Next::Stop {
                return;
            }
        }
    }

    fn capacity(&self) -> u64 {
        self.worker.conns().capacity() as u64
    }
}

/// A template as ipvsadm lists it.
pub fn template_row(template: &Template, now: Time) -> ConnRow<'static> {
    let (transport, virtual_service) = match template.key.asked {
        Asked::Service(key) => (Some(key.protocol.into()), key.vip.into()),
        Asked::Mark(mark) => (None, SocketAddr::new(IpAddr::from(mark.to_be_bytes()), 0)),
    };
    let rip = template.dest.rip();
    let (asked_port, port) = match (template.forgotten, virtual_service.port()) {
        (true, _) => (FORGOTTEN, FORGOTTEN),
        (false, 0) => (0, 0),
        (false, asked) => (asked, rip.port),
    };
    ConnRow {
        transport,
        expires_s: whole_seconds(template.expires_in(now)),
        state: EntryState::Template {
            assured: template.assured,
        },
        client: Endpoint::new(template.key.client, 0).into(),
        virtual_service: SocketAddr::new(virtual_service.ip(), asked_port),
        server: Endpoint::new(rip.addr, port).into(),
        engine: None,
    }
}

/// A conn as ipvsadm lists it.
pub fn conn_row(record: &ConnRecord) -> ConnRow<'static> {
    ConnRow {
        transport: Some(record.flow.protocol.into()),
        expires_s: record.expires_s,
        state: EntryState::Conn(record.state),
        client: record.flow.source.into(),
        virtual_service: record.flow.destination.into(),
        server: record.rip.into(),
        engine: None,
    }
}
