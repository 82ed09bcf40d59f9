//! The conns of all workers, looked at while they work.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use lb_conn::{ConnView, Template};
use lb_model::{Addr, ConnState, Endpoint, FlowKey, Prefix, Protocol, Time};
use lb_runtime::{Adoption, Asker, Foreign, ForeignTemplate};

use crate::Engine;

/// Places of a table that a worker looks at between two turns: telling of a conn takes about as long as forwarding a packet,
/// so packets wait as for four batches more.
const SLICE: u32 = 256;

/// Conns that a worker opens between two turns, each of which costs as much as a client's SYN.
const ADOPTED_AT_ONCE: usize = 64;

/// A conn as it was at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnRecord {
    /// The number of its worker.
    pub worker: usize,
    /// CIP:cport to VIP:vport.
    pub flow: FlowKey,
    /// RIP:rport.
    pub rip: Endpoint,
    /// LIP:lport in FNAT, VIP:lport in ENAT.
    pub local: Option<Endpoint>,
    /// Its mode, by its number.
    pub mode: u8,
    /// Its state.
    pub state: ConnState,
    /// Seconds that it lives on without a packet.
    pub expires_s: u32,
}

impl ConnRecord {
    /// Of a conn of this worker.
    pub fn of(view: &ConnView<'_>, worker: usize) -> ConnRecord {
        ConnRecord {
            worker,
            flow: view.conn.flow(),
            rip: view.conn.rip(),
            local: view.conn.local(),
            mode: view.conn.mode(),
            state: view.state,
            expires_s: u32::try_from(view.expires_in.as_secs()).unwrap_or(u32::MAX),
        }
    }
}

/// Which conns; what is `None` does not matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConnFilter {
    /// TCP or UDP.
    pub protocol: Option<Protocol>,
    /// The state.
    pub state: Option<ConnState>,
    /// CIP:cport.
    pub client: Option<EndpointFilter>,
    /// VIP:vport.
    pub vip: Option<EndpointFilter>,
    /// RIP:rport.
    pub server: Option<EndpointFilter>,
}

impl ConnFilter {
    fn matches_view(&self, view: &ConnView<'_>) -> bool {
        self.matches(&view.conn.flow(), view.conn.rip(), view.state)
    }

    /// Whether a conn of this flow to this server in this state is one.
    pub fn matches(&self, flow: &FlowKey, rip: Endpoint, state: ConnState) -> bool {
        let of = |filter: &Option<EndpointFilter>, end| filter.is_none_or(|f| f.matches(end));
        self.protocol
            .is_none_or(|protocol| protocol == flow.protocol)
            && self.state.is_none_or(|wanted| wanted == state)
            && of(&self.client, flow.source)
            && of(&self.vip, flow.destination)
            && of(&self.server, rip)
    }
}

/// `10.0.0.0/8`, `10.0.0.1`, `10.0.0.1:80`, `[2001:db8::1]:80` or `:80`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndpointFilter {
    prefix: Option<Prefix>,
    port: Option<u16>,
}

impl EndpointFilter {
    /// Whether an end is one of those meant.
    pub fn matches(&self, end: Endpoint) -> bool {
        self.prefix.is_none_or(|prefix| prefix.contains(end.addr))
            && self.port.is_none_or(|port| port == end.port)
    }
}

/// The text names neither addresses nor a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseEndpointFilterError;

impl fmt::Display for ParseEndpointFilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("allowed: 10.0.0.0/8, 10.0.0.1, 10.0.0.1:80, [2001:db8::1]:80 or :80")
    }
}

impl std::error::Error for ParseEndpointFilterError {}

impl FromStr for EndpointFilter {
    type Err = ParseEndpointFilterError;

    fn from_str(text: &str) -> Result<EndpointFilter, ParseEndpointFilterError> {
        let addr = |text: &str| text.parse().ok().map(|ip: std::net::IpAddr| Addr::from(ip));
        let whole = |addr: Addr| Prefix::new(addr, addr.bits());
        let prefix = |text: &str| {
            let (addr_text, len) = text.split_once('/')?;
            let (addr, len) = (addr(addr_text)?, len.parse().ok()?);
            (len <= addr.bits()).then(|| Prefix::new(addr, len))
        };
        // An IPv6 address may begin with two colons.
        let port = text.strip_prefix(':').filter(|rest| !rest.starts_with(':'));
        let (prefix, port) = if let Some(port) = port {
            (
                None,
                Some(port.parse().map_err(|_| ParseEndpointFilterError)?),
            )
        } else if let Ok(end) = text.parse::<Endpoint>() {
            (Some(whole(end.addr)), Some(end.port))
        } else {
            let prefix = prefix(text).or_else(|| addr(text).map(whole));
            (Some(prefix.ok_or(ParseEndpointFilterError)?), None)
        };
        Ok(EndpointFilter { prefix, port })
    }
}

impl Engine {
    /// Hands conns that match to `each` until that returns false; for a thread that may wait. Workers go on meanwhile: a
    /// conn that is there all the while is met once.
    pub fn conns(&self, filter: ConnFilter, each: &mut dyn FnMut(ConnRecord) -> bool) {
        for (worker, asker) in self.askers().iter().enumerate() {
            let records = |from| {
                // Memory is found here rather than by the worker.
                let mut records = Vec::with_capacity(SLICE as usize);
                slice(asker, from, move |views| {
                    let matching = views.filter(|view| filter.matches_view(view));
                    records.extend(matching.map(|view| ConnRecord::of(&view, worker)));
                    records
                })
            };
            if !all_slices(records, each) {
                return;
            }
        }
    }

    /// Opens conns that another balancer has, or brings ours into their state; what became of each, in no order. Whichever
    /// worker has a conn, packets find it.
    pub fn adopt(&self, conns: &[Foreign]) -> Vec<Adoption> {
        let askers = self.askers();
        let mut outcomes = Vec::new();
        for (number, asker) in askers.iter().enumerate() {
            // The same conn comes to the same worker each time.
            let its =
                |foreign: &&Foreign| usize::from(foreign.flow.source.port) % askers.len() == number;
            let its: Vec<Foreign> = conns.iter().filter(its).copied().collect();
            for some in its.chunks(ADOPTED_AT_ONCE) {
                let some = some.to_vec();
                let adopted = asker.ask(move |inside| {
                    let adopted = some.iter().map(|foreign| inside.adopt(foreign));
                    adopted.collect::<Vec<_>>()
                });
                outcomes.extend(adopted.unwrap_or_default());
            }
        }
        outcomes
    }

    /// Makes persistence templates that another balancer has, or begins the time of ours anew; what became of each, in no
    /// order.
    pub fn adopt_templates(&self, templates: &[ForeignTemplate]) -> Vec<Adoption> {
        let askers = self.askers();
        let mut outcomes = Vec::new();
        for some in templates.chunks(ADOPTED_AT_ONCE) {
            // Every worker's templates are to lead there; the first one's are enough to know a client by.
            for (number, asker) in askers.iter().enumerate() {
                let some = some.to_vec();
                let opens = number == 0;
                let adopted = asker.ask(move |inside| {
                    let adopted = some
                        .iter()
                        .map(|foreign| inside.adopt_template(foreign, opens));
                    adopted.collect::<Vec<_>>()
                });
                outcomes.extend(adopted.filter(|_| opens).unwrap_or_default());
            }
        }
        outcomes
    }

    /// How many conns match.
    pub fn count_conns(&self, filter: ConnFilter) -> u64 {
        let mut sum = 0;
        for asker in self.askers() {
            let count = |from| {
                slice(&asker, from, move |views| {
                    vec![views.filter(|view| filter.matches_view(view)).count() as u64]
                })
            };
            all_slices(count, &mut |count| {
                sum += count;
                true
            });
        }
        sum
    }

    /// Hands all persistence templates to `each`, with the worker's time, until that returns false.
    pub fn templates(&self, each: &mut dyn FnMut((Template, Time)) -> bool) {
        // Workers have templates of their own for a client, which lead to one server.
        let mut seen = HashSet::new();
        let mut each = |(template, now): (Template, Time)| {
            let is_new = seen.insert((template.key, template.dest.rip(), template.forgotten));
            !is_new || each((template, now))
        };
        for asker in self.askers() {
            let templates = |from: u32| {
                let answer = asker.ask(move |inside| {
                    let places = from as usize..from as usize + SLICE as usize;
                    let templates = inside.conns.templates().slice(places);
                    let timed = templates.map(|template| (template.clone(), inside.now));
                    (from < inside.conns.places()).then(|| timed.collect())
                });
                answer.flatten()
            };
            if !all_slices(templates, &mut each) {
                return;
            }
        }
    }

    /// How many conns there are.
    pub fn conn_count(&self) -> u64 {
        let askers = self.askers();
        let counts = askers
            .iter()
            .filter_map(|asker| asker.ask(|inside| inside.conns.len() as u64));
        counts.sum()
    }
}

/// What a worker makes of the conns in its places from `from` on; `None` beyond the last, or if the worker is gone.
fn slice<T: Send + 'static>(
    asker: &Asker,
    from: u32,
    take: impl FnOnce(&mut dyn Iterator<Item = ConnView<'_>>) -> T + Send + 'static,
) -> Option<T> {
    let answer = asker.ask(move |inside| {
        let mut views = inside.conns.slice(from..from + SLICE, inside.now);
        (from < inside.conns.places()).then(|| take(&mut views))
    });
    answer.flatten()
}

/// Goes through a worker's places; whether more is wanted.
fn all_slices<T>(slice: impl Fn(u32) -> Option<Vec<T>>, each: &mut dyn FnMut(T) -> bool) -> bool {
    let slices = (0..).step_by(SLICE as usize).map_while(slice);
    slices.flatten().all(each)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use lb_testkit::MemoryPort;

    use super::*;
    use crate::{Config, ServiceConfig};

    /// However many there are, packets wait for a slice of them at most.
    #[test]
    fn a_worker_looks_at_so_many_conns_between_two_turns_and_no_more() {
        const CONNS: u16 = 5000;
        let end = |text: &str| text.parse().expect("an endpoint");
        let service = ServiceConfig::new(end("10.0.0.100:80"), Protocol::Udp, "rr", "dr");
        let mut config =
            Config::default().with_service(service.with_server(end("10.1.0.11:80"), 1));
        config.engine.capacity = 20_000;
        let engine = Engine::new(&config).expect("valid");
        let mut worker = engine.worker(MemoryPort::new(64));
        let stop = AtomicBool::new(false);
        let foreign = |cport| Foreign {
            flow: FlowKey {
                source: Endpoint::new(Addr::v4([192, 0, 2, 1]), cport),
                destination: end("10.0.0.100:80"),
                protocol: Protocol::Udp,
            },
            rip: end("10.1.0.11:80"),
            state: ConnState::Udp,
            is_anew: false,
        };
        let (looked_at, listed) = thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    worker.turn(Time::ZERO);
                    thread::yield_now();
                }
            });
            engine.adopt(&(0..CONNS).map(foreign).collect::<Vec<_>>());
            let asker = &engine.askers()[0];
            let count = |from| slice(asker, from, |views| vec![views.count()]);
            let mut looked_at = Vec::new();
            all_slices(count, &mut |count| {
                looked_at.push(count);
                true
            });
            let mut listed = 0;
            engine.conns(ConnFilter::default(), &mut |_| {
                listed += 1;
                true
            });
            stop.store(true, Ordering::Relaxed);
            (looked_at, listed)
        });
        assert!(
            looked_at.iter().all(|count| *count <= SLICE as usize),
            "{looked_at:?}"
        );
        assert!(
            looked_at.iter().filter(|count| **count > 0).count() >= 5,
            "{looked_at:?}"
        );
        assert_eq!(looked_at.iter().sum::<usize>(), usize::from(CONNS));
        assert_eq!(listed, CONNS);
    }

    #[test]
    fn ends_are_named_in_part_or_whole() {
        let matching = |filter: &str, end: &str| {
            let filter: EndpointFilter = filter.parse().expect("a filter");
            filter.matches(end.parse().expect("an endpoint"))
        };
        for filter in ["10.0.0.0/8", "10.1.2.3", "10.1.2.3:80", ":80", "0.0.0.0/0"] {
            assert!(matching(filter, "10.1.2.3:80"), "{filter}");
        }
        for filter in ["11.0.0.0/8", "10.1.2.4", "10.1.2.3:81", ":8", "::/0"] {
            assert!(!matching(filter, "10.1.2.3:80"), "{filter}");
        }
        for filter in ["2001:db8::/32", "2001:db8::1", "[2001:db8::1]:443"] {
            assert!(matching(filter, "[2001:db8::1]:443"), "{filter}");
        }
        for wrong in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            ":",
            ":70000",
            "host",
            "10.0.0.1:x",
        ] {
            assert_eq!(
                wrong.parse::<EndpointFilter>(),
                Err(ParseEndpointFilterError),
                "{wrong}"
            );
        }
    }
}
