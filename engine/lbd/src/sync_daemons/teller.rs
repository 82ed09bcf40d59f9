//! Tells of the conns and templates of all workers.

use lb::{
    Asked, ConnFilter, ConnRecord, ConnState, Engine, FlowKey, MarkRule, ServiceKey, Template,
    Time, Timeouts,
};
use lb_ipvsadm::Daemon;
use lb_sync::{
    AskedFor, Method, Packer, State, SyncConn, SyncTemplate, SyncTemplateKey, Telling, TemplateUse,
    flags,
};

use super::heard::Heard;

/// Conns of one round: what is more waits for the next, so that a flood of clients is none of messages. As many templates.
const MOST_PER_ROUND: usize = 100_000;

/// One master daemon, whoever takes the messages.
pub struct Teller<'a> {
    engine: &'a Engine,
    heard: &'a Heard,
    conns: Telling<FlowKey, ConnState>,
    templates: Telling<SyncTemplateKey, TemplateUse>,
    packer: Packer,
    most_per_round: usize,
}

impl<'a> Teller<'a> {
    /// What `daemon` describes, which is complete.
    pub fn new(engine: &'a Engine, heard: &'a Heard, daemon: &Daemon) -> Teller<'a> {
        let longest = usize::from(daemon.max_length.unwrap_or_default());
        Teller {
            engine,
            heard,
            conns: Telling::default(),
            templates: Telling::default(),
            packer: Packer::new(daemon.sync_id, longest),
            most_per_round: MOST_PER_ROUND,
        }
    }

    /// The same with another limit.
    #[cfg(test)]
    pub fn with_most_per_round(self, most_per_round: usize) -> Teller<'a> {
        Teller {
            most_per_round,
            ..self
        }
    }

    /// Looks at everything once, and hands to `send` what there is to tell; `goes_on` may end it early.
    pub fn round(&mut self, now: Time, send: &mut dyn FnMut(Vec<u8>), goes_on: &dyn Fn() -> bool) {
        let engine = self.engine;
        let (methods, marks, timeouts) = engine.look(|table| {
            let modes = table.modes().iter();
            (
                modes
                    .map(|mode| Method::of_mode(mode.name()))
                    .collect::<Vec<_>>(),
                table.marks().to_vec(),
                table.timeouts().clone(),
            )
        });
        let method = |mode: u8| methods.get(usize::from(mode)).copied().flatten();
        self.round_of_templates(now, &method, send, goes_on);
        self.round_of_conns(now, &method, &marks, &timeouts, send, goes_on);
        self.packer.take().into_iter().for_each(send);
    }

    /// They come first: a conn that is made by one should find it.
    fn round_of_templates(
        &mut self,
        now: Time,
        method: &dyn Fn(u8) -> Option<Method>,
        send: &mut dyn FnMut(Vec<u8>),
        goes_on: &dyn Fn() -> bool,
    ) {
        let mut left = self.most_per_round;
        self.templates.begin_round();
        self.engine.templates(&mut |(template, _)| {
            let (key, server) = (key_of(&template), server_of(&template));
            if !template.forgotten {
                let what = TemplateUse {
                    server,
                    since: template.since(),
                };
                if left == 0 || self.heard.lock().has_template(&key, now) {
                    self.templates.pass(&key);
                } else if self.templates.meet_template(key, what, now) {
                    left -= 1;
                    let told = told_template(&template, key, server, method(template.dest.mode()));
                    self.packer
                        .add(&told.into())
                        .into_iter()
                        .for_each(&mut *send);
                }
            }
            goes_on()
        });
        self.templates.end_round();
    }

    fn round_of_conns(
        &mut self,
        now: Time,
        method: &dyn Fn(u8) -> Option<Method>,
        marks: &[MarkRule],
        timeouts: &Timeouts,
        send: &mut dyn FnMut(Vec<u8>),
        goes_on: &dyn Fn() -> bool,
    ) {
        let mut left = self.most_per_round;
        self.conns.begin_round();
        self.engine.conns(ConnFilter::default(), &mut |record| {
            if let Some(method) = method(record.mode) {
                let ConnRecord { flow, state, .. } = record;
                if left == 0 || self.heard.lock().has_conn(&flow, now) {
                    self.conns.pass(&flow);
                } else if self.conns.meet_conn(flow, state, timeouts.of(state), now) {
                    left -= 1;
                    let told = told_conn(&record, method, marks, timeouts);
                    self.packer
                        .add(&told.into())
                        .into_iter()
                        .for_each(&mut *send);
                }
            }
            goes_on()
        });
        self.conns.end_round();
    }
}

/// As the kernel has them: only in NAT do the server's packets come through us.
fn flags_of(method: Method) -> u32 {
    match method {
        Method::Masquerading => method as u32,
        _ => method as u32 | flags::NO_OUTPUT,
    }
}

fn told_conn(
    record: &ConnRecord,
    method: Method,
    marks: &[MarkRule],
    timeouts: &Timeouts,
) -> SyncConn {
    let mark = marks.iter().find(|rule| rule.matches(&record.flow));
    SyncConn {
        protocol: record.flow.protocol,
        // The kernel's UDP conns are born inactive, too, and stay that.
        flags: match record.state.is_active() {
            true => flags_of(method),
            false => flags_of(method) | flags::INACTIVE,
        },
        state: State::of(record.state),
        client: record.flow.source,
        vip: record.flow.destination,
        server: record.rip,
        mark: mark.map_or(0, |rule| rule.mark),
        timeout_s: seconds(timeouts.of(record.state)),
    }
}

/// A template has no local address, so that those of full NAT and ENAT can be told of, too: as of NAT, for want of a word.
fn told_template(
    template: &Template,
    key: SyncTemplateKey,
    server: lb::Endpoint,
    method: Option<Method>,
) -> SyncTemplate {
    SyncTemplate {
        key,
        server,
        flags: flags::TEMPLATE | flags_of(method.unwrap_or(Method::Masquerading)),
        is_assured: template.assured,
        timeout_s: seconds(template.timeout()),
    }
}

fn key_of(template: &Template) -> SyncTemplateKey {
    SyncTemplateKey {
        client: template.key.client,
        asked_for: match template.key.asked {
            Asked::Service(ServiceKey { vip, protocol }) => AskedFor::Service { protocol, vip },
            Asked::Mark(mark) => AskedFor::Mark(mark),
        },
    }
}

/// Where a service has no port of its own, the client's is the server's (kernel `ip_vs_sched_persist`).
fn server_of(template: &Template) -> lb::Endpoint {
    let rip = template.dest.rip();
    match template.key.asked {
        Asked::Service(ServiceKey { vip, .. }) if vip.port != 0 => rip,
        _ => lb::Endpoint::new(rip.addr, 0),
    }
}

fn seconds(time: std::time::Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
