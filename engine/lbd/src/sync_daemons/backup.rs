//! Takes in the conns of others.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};

use lb::{Adoption, Engine, FlowKey, Foreign};
use lb_ipvsadm::Daemon;
use lb_sync::{Message, SyncConn};

use super::adopted::Adopted;

/// Until told to stop.
pub fn run(
    daemon: &Daemon,
    engine: &Engine,
    adopted: &Adopted,
    socket: &UdpSocket,
    stop: &AtomicBool,
) {
    tracing::info!(
        "backup sync daemon: taking in conns on {}",
        daemon.interface
    );
    let mut complaints = Complaints::default();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    while !stop.load(Ordering::Relaxed) {
        let received = match socket.recv(&mut buffer) {
            Ok(len) => Message::read(&buffer[..len]),
            Err(error) if is_patience(error.kind()) => continue,
            Err(error) => {
                complaints.say(error.to_string());
                std::thread::sleep(std::time::Duration::from_millis(100));
                continue;
            }
        };
        let message = match received {
            Ok(message) => message,
            Err(fault) => {
                complaints.say(format!("a message that is none: {fault}"));
                continue;
            }
        };
        // As the kernel: 0 takes everybody's.
        if daemon.sync_id != 0 && message.sync_id != daemon.sync_id {
            continue;
        }
        if let Some(fault) = message.fault {
            complaints.say(format!("a message with a conn that is none: {fault}"));
        }
        let conns: Vec<Foreign> = message.conns.iter().filter_map(foreign).collect();
        if conns.len() < message.conns.len() {
            complaints.say("persistence templates are not taken in".to_owned());
        }
        adopted.note(conns.iter().map(|conn| conn.flow));
        for outcome in engine.adopt(&conns) {
            match outcome {
                Adoption::Opened | Adoption::Known => {}
                Adoption::NoServer => {
                    complaints.say("a conn to a service or a server that is not ours".to_owned());
                }
                Adoption::NotPortable => {
                    complaints
                        .say("a conn that needs a local address: full NAT and ENAT".to_owned());
                }
                Adoption::Full => complaints.say("no room for a conn".to_owned()),
            }
        }
    }
}

fn is_patience(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// `None` for a template, which is no conn.
fn foreign(conn: &SyncConn) -> Option<Foreign> {
    (!conn.is_template()).then_some(Foreign {
        flow: FlowKey {
            source: conn.client,
            destination: conn.vip,
            protocol: conn.protocol,
        },
        rip: conn.server,
        state: conn.state.conn_state(conn.protocol),
    })
}

/// What goes wrong, said once each: it goes wrong with every message.
#[derive(Default)]
struct Complaints(BTreeSet<String>);

impl Complaints {
    fn say(&mut self, what: String) {
        if !self.0.contains(&what) {
            tracing::warn!("backup sync daemon: {what} (said once)");
            self.0.insert(what);
        }
    }
}
