//! From what was found to what servers may do: weights, quorums, sorry servers, slow starts; and who is told of it.

use std::cmp::min_by;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lb::{
    Endpoint, Engine, Limit, Member, Refusal, ServerSpec, ServiceId, ServiceTable, Thresholds,
    Tunnel,
};
use lb_checks::{
    Evidence, Found, Notifier, OnFailure, Quorum, Ramp, ServiceHealth, SorryServer, State,
    Suspicion, Target, Watcher, Way,
};
use rustix::time::{ClockId, clock_gettime};

use super::{ServerEntry, Shared};

/// A sorry server's; any would do, for it is alone.
const SORRY_WEIGHT: u32 = 1;

/// How often a sorry server that is not needed any more is looked at, until its conns have ended.
const LINGER: Duration = Duration::from_secs(1);

/// Keeps the engine's servers as their checks say.
pub struct Supervisor<'s> {
    pub watcher: Watcher,
    pub(super) engine: Arc<Engine>,
    pub(super) shared: &'s Shared,
    pub(super) services: BTreeMap<ServiceId, Service>,
    notifier: Notifier,
    /// When the processor time was looked up last.
    accounted: Duration,
}

pub(super) struct Service {
    pub health: ServiceHealth,
    quorum: Quorum,
    pub servers: BTreeMap<Endpoint, Server>,
    pub suspicion: Suspicion,
    /// When the servers' clients' packets are judged next, if they are.
    pub window_ends: Option<Duration>,
    /// Whether its sorry server is there and not needed.
    lingers: bool,
}

pub(super) struct Server {
    pub state: State,
    ramp: Option<Ramp>,
}

/// What is to be done to a service's servers.
#[derive(Default)]
struct Edits {
    limits: Vec<(Endpoint, Limit)>,
    sorry: Option<Sorry>,
}

/// What is to be done to a sorry server.
enum Sorry {
    Serve(ServerSpec),
    Quiesce(ServerSpec),
    Leave(Endpoint),
}

impl Supervisor<'_> {
    pub fn new(engine: Arc<Engine>, shared: &Shared) -> Supervisor<'_> {
        Supervisor {
            watcher: Watcher::new(),
            engine,
            shared,
            services: BTreeMap::new(),
            notifier: Notifier::default(),
            accounted: Duration::ZERO,
        }
    }

    /// The services or the plan may have changed.
    pub fn follow(&mut self) {
        // Held until all is done: who changes both changes them at once.
        let plan = self.shared.plan.lock();
        let members = self.engine.look(|table| {
            let members = plan.keys().map(|id| Some((*id, table.members(*id).ok()?)));
            members.flatten().collect::<BTreeMap<_, _>>()
        });
        self.release(&members);
        let mut targets = Vec::new();
        for (id, members) in &members {
            let health = &plan[id];
            let service = self.services.entry(*id).or_insert_with(|| Service {
                health: health.clone(),
                quorum: Quorum::new(),
                servers: BTreeMap::new(),
                suspicion: Suspicion::default(),
                window_ends: None,
                lingers: false,
            });
            if let Some(sorry) = service.renew(health, members) {
                self.engine.edit(|table| dismiss(table, *id, sorry));
            }
            for (rip, server) in &service.servers {
                let checks = health.checks_of(*rip).iter().enumerate();
                let way = self.engine.look(|table| way(table, *id, *rip));
                targets.extend(checks.map(|(part, check)| Target {
                    service: *id,
                    server: *rip,
                    part,
                    initial: server.state,
                    check: Arc::clone(check),
                    way,
                }));
            }
        }
        self.watcher.watch(targets);
        self.renew_book();
        drop(plan);
        let ids: Vec<ServiceId> = self.services.keys().copied().collect();
        for id in ids {
            self.begin_window(id);
            self.reconsider(id);
            self.settle(id, None);
        }
    }

    /// Takes servers for what those of their checks say that are left.
    fn reconsider(&mut self, id: ServiceId) {
        let Some(service) = self.services.get(&id) else {
            return;
        };
        let state = |rip| self.watcher.state(id, rip).unwrap_or(State::Up);
        let servers = service.servers.iter();
        let turned = servers.filter(|(rip, server)| server.state != state(**rip));
        let turned: Vec<(Endpoint, State)> = turned.map(|(rip, _)| (*rip, state(*rip))).collect();
        for (rip, state) in turned {
            self.turn(id, rip, state, "it is asked something else now");
        }
    }

    /// Somebody has answered, or has not.
    pub fn found(&mut self, found: Found) {
        self.account();
        let (id, rip) = (found.service, found.server);
        let Some(service) = self.services.get(&id) else {
            return;
        };
        let checks = service.health.checks_of(rip);
        let (Some(check), Some(server)) = (checks.get(found.part), service.servers.get(&rip))
        else {
            return;
        };
        let failure = found.answer.as_ref().err().map(|failure| match checks {
            [_] => failure.to_string(),
            _ => format!("{}: {failure}", check.probe.name()),
        });
        if let Some(entry) = self.shared.book.lock().servers.get_mut(&(id, rip)) {
            entry.note(&found, failure.as_deref());
        }
        if found.state != server.state {
            let reason = failure.unwrap_or_else(|| format!("{} good answers", check.rise));
            self.turn(id, rip, found.state, &reason);
            self.settle(id, Some(rip));
        }
    }

    /// Takes a server for something else from now on, and says so; to be settled.
    fn turn(&mut self, id: ServiceId, rip: Endpoint, state: State, reason: &str) {
        let now = self.watcher.now();
        let Some(service) = self.services.get_mut(&id) else {
            return;
        };
        let slow_start = service.health.policy.slow_start;
        let Some(server) = service.servers.get_mut(&rip) else {
            return;
        };
        server.state = state;
        server.ramp = match state {
            State::Up => Ramp::begin(now, slow_start),
            State::Down => None,
        };
        let state = match state {
            State::Up => {
                tracing::info!("{id}: server {rip} is up: {reason}");
                "UP"
            }
            State::Down => {
                tracing::warn!("{id}: server {rip} is down: {reason}");
                "DOWN"
            }
        };
        self.tell(
            id,
            ["SERVER", &rip.to_string(), state, &id.to_string(), reason],
        );
    }

    /// How long until the next [step](Supervisor::step).
    pub fn due(&self) -> Option<Duration> {
        let now = self.watcher.now();
        let services = self.services.values();
        let steps = services.clone().flat_map(|service| {
            let ramps = service.servers.values().filter_map(|server| server.ramp);
            ramps.map(|ramp| ramp.next_step(now).saturating_sub(now))
        });
        let lingering = services.clone().filter(|service| service.lingers);
        let windows = services.filter_map(|service| service.window_ends);
        let windows = windows.map(|end| end.saturating_sub(now));
        steps.chain(lingering.map(|_| LINGER)).chain(windows).min()
    }

    /// Weights rise, sorry servers leave, and windows end.
    pub fn step(&mut self) {
        let judged = self.judge_windows();
        let moving = |(id, service): &(&ServiceId, &Service)| {
            let starts = |server: &Server| server.ramp.is_some();
            service.lingers || service.servers.values().any(starts) || judged.contains(id)
        };
        let services = self.services.iter().filter(moving);
        let ids: Vec<ServiceId> = services.map(|(id, _)| *id).collect();
        for id in ids {
            self.settle(id, None);
        }
    }

    /// Gives services back that are not watched any more.
    fn release(&mut self, watched: &BTreeMap<ServiceId, Vec<Member>>) {
        let gone: Vec<ServiceId> = self
            .services
            .keys()
            .filter(|id| !watched.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            let service = self.services.remove(&id);
            let sorry = service.and_then(|service| service.health.policy.sorry_server);
            self.engine.edit(|table| {
                for member in table.members(id).unwrap_or_default() {
                    // It is there: nobody else edits meanwhile.
                    let _ = table.limit_server(id, member.rip, Limit::None);
                }
                if let Some(sorry) = sorry {
                    dismiss(table, id, sorry.rip);
                }
            });
        }
    }

    /// Makes a service's servers as they should be, and only then writes down what they are taken for: who reads that
    /// one is down finds that it gets nothing. `turned` is one whose state has just changed.
    fn settle(&mut self, id: ServiceId, turned: Option<Endpoint>) {
        let now = self.watcher.now();
        let Some(service) = self.services.get_mut(&id) else {
            return;
        };
        let judged = self.engine.look(|table| {
            let members = table.members(id).ok()?;
            let change = service.weigh(&members);
            Some((service.edits(table, id, &members, turned, now), change))
        });
        // A service that is gone will be missed by `follow`.
        let Some((edits, change)) = judged else {
            return;
        };
        if !edits.limits.is_empty() || edits.sorry.is_some() {
            self.engine.edit(|table| apply(table, id, &edits));
        }
        let mut book = self.shared.book.lock();
        book.quorums.insert(id, service.quorum.is_met());
        for (rip, server) in &service.servers {
            if let Some(entry) = book.servers.get_mut(&(id, *rip)) {
                entry.turn(server.state);
                entry.starting = server.ramp.is_some();
                let evidence = service.suspicion.evidence(*rip);
                entry.suspicion = evidence.map(Evidence::to_string);
            }
        }
        drop(book);
        if let Some((is_met, weight)) = change {
            self.quorum_changed(id, is_met, weight);
        }
    }

    fn quorum_changed(&mut self, id: ServiceId, is_met: bool, weight: u64) {
        let policy = &self.services[&id].health.policy;
        let reason = format!("weight {weight} of {}", policy.quorum);
        let sorry = policy.sorry_server.as_ref().map(|sorry| sorry.rip);
        let state = match (is_met, sorry) {
            (true, _) => {
                tracing::info!("{id}: quorum regained: {reason}");
                "UP"
            }
            (false, None) => {
                tracing::warn!("{id}: quorum lost: {reason}");
                "DOWN"
            }
            (false, Some(rip)) => {
                tracing::warn!("{id}: quorum lost: {reason}; sorry server {rip} serves");
                "DOWN"
            }
        };
        let name = id.to_string();
        self.tell(id, ["QUORUM", &name, state, &name, &reason]);
    }

    pub(super) fn tell(&mut self, id: ServiceId, words: [&str; 5]) {
        let notify = &self.services[&id].health.policy.notify;
        if !notify.is_empty() {
            let words = words.map(str::to_owned);
            let command = notify.iter().cloned().chain(words).collect();
            self.notifier.tell(&id.to_string(), command);
        }
    }

    fn renew_book(&self) {
        let mut book = self.shared.book.lock();
        let mut before = std::mem::take(&mut book.servers);
        for (id, service) in &self.services {
            for (rip, server) in &service.servers {
                let known = before.remove(&(*id, *rip));
                let mut entry = known.unwrap_or_else(|| ServerEntry::new(server.state));
                let checks = service.health.checks_of(*rip).len();
                entry.failures.retain(|part, _| *part < checks);
                if service.health.passive.is_none() {
                    entry.conduct = None;
                }
                book.servers.insert((*id, *rip), entry);
            }
        }
        book.quorums.retain(|id, _| self.services.contains_key(id));
    }

    /// Looks up the processor time, once a second.
    fn account(&mut self) {
        let now = self.watcher.now();
        if now.saturating_sub(self.accounted) >= Duration::from_secs(1) {
            self.accounted = now;
            let time = clock_gettime(ClockId::ThreadCPUTime);
            let time = Duration::try_from(time).unwrap_or_default();
            self.shared.book.lock().processor_time = time;
        }
    }
}

impl Service {
    /// Takes over another plan, and who is a server now; the sorry server that is none any more.
    fn renew(&mut self, health: &ServiceHealth, members: &[Member]) -> Option<Endpoint> {
        let sorry = |health: &ServiceHealth| Some(health.policy.sorry_server.as_ref()?.rip);
        let before = sorry(&self.health);
        let replaced = before.filter(|rip| sorry(health) != Some(*rip));
        self.health = health.clone();
        if health.passive.is_none() {
            self.suspicion = Suspicion::default();
        }
        let mut before = std::mem::take(&mut self.servers);
        for member in members {
            let known = before.remove(&member.rip);
            let state = match health.is_bad_at_first(member.rip) {
                false => State::Up,
                true => State::Down,
            };
            let server = known.unwrap_or(Server { state, ramp: None });
            self.servers.insert(member.rip, server);
        }
        replaced
    }

    /// Whether the quorum is met now and with which weight, if that is new.
    fn weigh(&mut self, members: &[Member]) -> Option<(bool, u64)> {
        let policy = &self.health.policy;
        let serves = |member: &&Member| {
            let server = self.servers.get(&member.rip);
            !member.drained && server.is_some_and(|server| server.state == State::Up)
        };
        let good = members.iter().filter(serves);
        let weight = good.map(|member| u64::from(member.given)).sum();
        let is_met = self
            .quorum
            .weigh(weight, policy.quorum, policy.hysteresis)?;
        Some((is_met, weight))
    }

    fn edits(
        &mut self,
        table: &ServiceTable,
        id: ServiceId,
        members: &[Member],
        turned: Option<Endpoint>,
        now: Duration,
    ) -> Edits {
        let mut edits = Edits::default();
        let replaced = self.health.policy.sorry_server.is_some() && !self.quorum.is_met();
        for member in members {
            let Some(server) = self.servers.get_mut(&member.rip) else {
                continue;
            };
            let kept = self.suspicion.share(member.rip);
            let limit = server.limit(self.health.policy.on_failure, replaced, kept, now);
            // Who adds a server that is out has it quiesced, until it fails once more.
            let returned = limit == Limit::Out
                && member.limit == Limit::Quiesced
                && turned != Some(member.rip);
            if limit != member.limit && !returned {
                edits.limits.push((member.rip, limit));
            }
        }
        if let Some(sorry) = &self.health.policy.sorry_server {
            let stands_in = table.stand_in(id, sorry.rip);
            self.lingers = !replaced && stands_in.is_some();
            edits.sorry = match (replaced, stands_in) {
                (true, Some(dest)) if dest.weight() > 0 => None,
                (true, _) => Some(Sorry::Serve(spec(sorry, SORRY_WEIGHT))),
                (false, None) => None,
                (false, Some(dest)) if dest.total() == 0 => Some(Sorry::Leave(sorry.rip)),
                (false, Some(dest)) if dest.weight() > 0 => Some(Sorry::Quiesce(spec(sorry, 0))),
                (false, Some(_)) => None,
            };
        }
        edits
    }
}

impl Server {
    /// `kept` is the percentage of its weight that it keeps as a suspect.
    fn limit(
        &mut self,
        on_failure: OnFailure,
        replaced: bool,
        kept: Option<u32>,
        now: Duration,
    ) -> Limit {
        let ramp = self.ramp.map(|ramp| ramp.share(now));
        if ramp == Some(None) {
            self.ramp = None;
        }
        let shares = [ramp.flatten(), kept.map(|percent| (percent, 100))];
        let least = shares.into_iter().flatten().reduce(|one, other| {
            let order = |(part, of): &(u32, u32), (other_part, other_of): &(u32, u32)| {
                let (here, there) = (u64::from(*part), u64::from(*other_part));
                (here * u64::from(*other_of)).cmp(&(there * u64::from(*of)))
            };
            min_by(one, other, order)
        });
        match (self.state, on_failure, least) {
            (State::Down, OnFailure::Remove, _) => Limit::Out,
            (State::Down, OnFailure::Quiesce, _) => Limit::Quiesced,
            (State::Up, ..) if replaced => Limit::Quiesced,
            (State::Up, _, Some((part, of))) => Limit::Share { part, of },
            (State::Up, _, None) => Limit::None,
        }
    }
}

/// How clients' packets get to a server, as far as a check can take the same way.
fn way(table: &ServiceTable, id: ServiceId, rip: Endpoint) -> Way {
    let (ServiceId::Address(key), Some(spec)) = (id, table.server_spec(id, rip)) else {
        return Way::Own;
    };
    let one_family = key.vip.addr.is_v4() == rip.addr.is_v4();
    match (spec.mode.as_str(), spec.tunnel) {
        ("dr", _) => Way::Direct,
        ("tun", Tunnel::Ipip) if one_family => Way::Ipip,
        _ => Way::Own,
    }
}

/// Does all of it at once, as workers see it.
fn apply(table: &mut ServiceTable, id: ServiceId, edits: &Edits) {
    let sorry = match &edits.sorry {
        None => Ok(()),
        Some(Sorry::Leave(rip)) => table.delete_server(id, *rip),
        Some(Sorry::Quiesce(spec)) => table.edit_server(id, spec),
        Some(Sorry::Serve(spec)) => match table.stand_in(id, spec.rip) {
            Some(_) => table.edit_server(id, spec),
            None => table.add_stand_in(id, spec),
        },
    };
    if let Err(refusal) = sorry {
        tracing::error!("{id}: sorry server: {refusal}");
    }
    for (rip, limit) in &edits.limits {
        match table.limit_server(id, *rip, *limit) {
            // Somebody has removed it in between.
            Ok(()) | Err(Refusal::NoSuchServer | Refusal::NoSuchService) => {}
            Err(refusal) => tracing::error!("{id}: server {rip}: {refusal}"),
        }
    }
}

/// A sorry server leaves, if it is there.
fn dismiss(table: &mut ServiceTable, id: ServiceId, rip: Endpoint) {
    if table.stand_in(id, rip).is_some()
        && let Err(refusal) = table.delete_server(id, rip)
    {
        tracing::error!("{id}: sorry server {rip}: {refusal}");
    }
}

fn spec(sorry: &SorryServer, weight: u32) -> ServerSpec {
    ServerSpec {
        rip: sorry.rip,
        mode: sorry.mode.clone(),
        weight,
        thresholds: Thresholds::default(),
        tunnel: sorry.tunnel,
    }
}
