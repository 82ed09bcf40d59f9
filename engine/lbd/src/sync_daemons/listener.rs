//! Takes in what others tell of.

use std::collections::BTreeSet;
use std::time::Duration;

use lb::{Adoption, Asked, Engine, Foreign, ForeignTemplate, ServiceKey, TemplateKey, Time};
use lb_sync::{AskedFor, Message, News, SyncTemplate, SyncTemplateKey, Told};

use super::heard::Heard;

/// One backup daemon, whoever brings it the messages.
pub struct Listener<'a> {
    engine: &'a Engine,
    heard: &'a Heard,
    /// 0 takes everybody's, as in the kernel.
    sync_id: u8,
    complaints: Complaints,
}

impl<'a> Listener<'a> {
    pub fn new(engine: &'a Engine, heard: &'a Heard, sync_id: u8) -> Listener<'a> {
        Listener {
            engine,
            heard,
            sync_id,
            complaints: Complaints::default(),
        }
    }

    /// Takes in what a datagram says, if it is one for us.
    pub fn take(&mut self, datagram: &[u8], now: Time) {
        let message = match Message::read(datagram) {
            Ok(message) => message,
            Err(fault) => return self.complain(format!("a message that is none: {fault}")),
        };
        if self.sync_id != 0 && message.sync_id != self.sync_id {
            return;
        }
        if let Some(fault) = message.fault {
            self.complain(format!("a message with a conn that is none: {fault}"));
        }
        let (conns, templates) = self.hear(&message.told, now);
        let mut outcomes = self.engine.adopt(&conns);
        outcomes.extend(self.engine.adopt_templates(&templates));
        for outcome in outcomes {
            match outcome {
                Adoption::Opened | Adoption::Known => {}
                Adoption::NoServer => {
                    self.complain("a conn to a service or a server that is not ours".to_owned());
                }
                Adoption::NotPortable => {
                    self.complain("a conn that needs a local address: full NAT and ENAT".to_owned())
                }
                Adoption::Full => self.complain("no room for a conn".to_owned()),
            }
        }
    }

    /// What goes wrong is said once: it goes wrong with every message.
    pub fn complain(&mut self, what: String) {
        self.complaints.say(what);
    }

    /// What of it is worth taking in.
    fn hear(&self, all: &[Told], now: Time) -> (Vec<Foreign>, Vec<ForeignTemplate>) {
        let mut hearing = self.heard.lock();
        let (mut conns, mut templates) = (Vec::with_capacity(all.len()), Vec::new());
        for told in all {
            match told {
                Told::Conn(conn) => match hearing.hear_conn(conn, now) {
                    News::Old => {}
                    news => conns.push(Foreign {
                        flow: conn.flow(),
                        rip: conn.server,
                        state: conn.state.conn_state(conn.protocol),
                        is_anew: news == News::Anew,
                    }),
                },
                Told::Template(template) => {
                    hearing.hear_template(template.key, template.timeout_s, now);
                    templates.push(foreign_template(template));
                }
            }
        }
        (conns, templates)
    }
}

fn foreign_template(template: &SyncTemplate) -> ForeignTemplate {
    let SyncTemplateKey { client, asked_for } = template.key;
    ForeignTemplate {
        key: TemplateKey {
            client,
            asked: match asked_for {
                AskedFor::Service { protocol, vip } => Asked::Service(ServiceKey { vip, protocol }),
                AskedFor::Mark(mark) => Asked::Mark(mark),
            },
        },
        rip: template.server,
        timeout: Duration::from_secs(template.timeout_s.into()),
        is_assured: template.is_assured,
    }
}

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
