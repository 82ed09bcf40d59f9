//! Two balancers, and a network between them that loses, doubles and delays what they tell each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lb::{
    Addr, Asked, Config, ConnFilter, ConnState, Endpoint, Engine, FlowKey, Foreign,
    ForeignTemplate, Persistence, Protocol, ServiceConfig, ServiceKey, Stage, TemplateKey, Time,
};
use lb_ipvsadm::{Daemon, Role};
use lb_sync::{LONGEST, Message, Packer, State, SyncConn, Told};
use lb_testkit::MemoryPort;

use super::heard::Heard;
use super::listener::Listener;
use super::teller::Teller;

const VIP: &str = "10.0.0.100:80";
const SERVERS: [&str; 2] = ["10.1.0.11:80", "10.1.0.12:80"];
const SYNC_ID: u8 = 7;
/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

/// A balancer with one worker, whose clock is ours.
struct Side {
    engine: Arc<Engine>,
    heard: Heard,
    millis: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Side {
    fn new(mode: &str) -> Side {
        let service = SERVERS.iter().fold(
            ServiceConfig::new(end(VIP), Protocol::Tcp, "rr", mode),
            |service, rip| service.with_server(end(rip), 1),
        );
        let mut config = Config::default().with_service(ServiceConfig {
            persistence: Some(Persistence {
                timeout: Duration::from_secs(300),
                netmask: Addr::v4([255; 4]),
            }),
            ..service
        });
        // All places are looked at each time.
        config.engine.capacity = 500;
        let engine = Arc::new(Engine::new(&config).expect("a valid configuration"));
        let mut worker = engine.worker(MemoryPort::new(64));
        let (millis, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let clock = (Arc::clone(&millis), Arc::clone(&stop));
        let worker = thread::spawn(move || {
            let (millis, stop) = clock;
            while !stop.load(Ordering::Relaxed) {
                worker.turn(at(millis.load(Ordering::Relaxed)));
                thread::yield_now();
            }
        });
        Side {
            engine,
            heard: Heard::default(),
            millis,
            stop,
            worker: Some(worker),
        }
    }

    fn it_is(&self, millis: u64) {
        self.millis.store(millis, Ordering::Relaxed);
        // The first answer may still be of the turn before.
        self.engine.conn_count();
        self.engine.conn_count();
    }

    /// What packets of a client would have done, who was sent to this server.
    fn has(&self, flow: FlowKey, server: usize, state: ConnState) {
        self.engine.adopt(&[Foreign {
            flow,
            rip: end(SERVERS[server]),
            state,
            is_anew: true,
        }]);
    }

    fn teller(&self) -> Teller<'_> {
        Teller::new(&self.engine, &self.heard, &daemon(Role::Master))
    }

    fn listener(&self) -> Listener<'_> {
        Listener::new(&self.engine, &self.heard, SYNC_ID)
    }

    fn conns(&self) -> HashMap<FlowKey, (Stage, Endpoint)> {
        let mut conns = HashMap::new();
        self.engine.conns(ConnFilter::default(), &mut |record| {
            let there = (record.state.stage(), record.rip);
            assert_eq!(conns.insert(record.flow, there), None, "there once");
            true
        });
        conns
    }

    fn templates(&self) -> Vec<(TemplateKey, Endpoint)> {
        let mut templates = Vec::new();
        self.engine.templates(&mut |(template, _)| {
            if !template.forgotten {
                templates.push((template.key, template.dest.rip()));
            }
            true
        });
        templates
    }

    fn wait_for_conns(&self, there: impl Fn(&HashMap<FlowKey, (Stage, Endpoint)>) -> bool) {
        let end = Instant::now() + LIMIT;
        loop {
            let conns = self.conns();
            if there(&conns) {
                return;
            }
            assert!(Instant::now() < end, "{conns:?}");
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            // A panic has been said.
            let _ = worker.join();
        }
    }
}

fn daemon(role: Role) -> Daemon {
    Daemon {
        role,
        interface: "lo".to_owned(),
        sync_id: SYNC_ID,
        max_length: Some(8 + 3 * 36),
        group: None,
        port: None,
        ttl: None,
    }
}

fn end(text: &str) -> Endpoint {
    text.parse().expect("an endpoint")
}

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

fn flow(number: u16) -> FlowKey {
    FlowKey {
        source: end(&format!("192.0.2.1:{}", 1000 + number)),
        destination: end(VIP),
        protocol: Protocol::Tcp,
    }
}

/// All that a teller has to say now.
fn round(teller: &mut Teller<'_>, millis: u64) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    teller.round(
        at(millis),
        &mut |datagram| datagrams.push(datagram),
        &|| true,
    );
    datagrams
}

/// The conns that datagrams tell of.
fn told(datagrams: &[Vec<u8>]) -> Vec<SyncConn> {
    let all = datagrams.iter().flat_map(|datagram| {
        let message = Message::read(datagram).expect("a message");
        assert_eq!((message.sync_id, message.fault), (SYNC_ID, None));
        message.told
    });
    let conns = all.filter_map(|told| match told {
        Told::Conn(conn) => Some(conn),
        Told::Template(_) => None,
    });
    conns.collect()
}

fn message(flow: FlowKey, server: usize, state: ConnState) -> Vec<u8> {
    let mut packer = Packer::new(SYNC_ID, LONGEST);
    let conn = SyncConn {
        protocol: flow.protocol,
        flags: 3,
        state: State::of(state),
        client: flow.source,
        vip: flow.destination,
        server: end(SERVERS[server]),
        mark: 0,
        timeout_s: 900,
    };
    packer.add(&conn.into());
    packer.take().expect("a message")
}

/// When each message comes in, what it says, and what is there after the last.
type Messages<'a> = (
    &'a str,
    &'a [(u64, usize, ConnState)],
    Option<(Stage, usize)>,
);

#[test]
fn lost_doubled_and_overtaken_messages_bring_no_conn_back() {
    use ConnState::*;
    let cases: &[Messages<'_>] = &[
        (
            "in order",
            &[(0, 0, Established), (1000, 0, FinWait)],
            Some((Stage::Ending, 0)),
        ),
        (
            "the first is lost",
            &[(1000, 0, FinWait)],
            Some((Stage::Ending, 0)),
        ),
        (
            "all but the last are lost",
            &[(2000, 0, Close)],
            Some((Stage::Closed, 0)),
        ),
        (
            "each twice",
            &[
                (0, 0, Established),
                (1, 0, Established),
                (1000, 0, FinWait),
                (1001, 0, FinWait),
            ],
            Some((Stage::Ending, 0)),
        ),
        (
            "the last overtakes the first",
            &[(1000, 0, FinWait), (1200, 0, Established)],
            Some((Stage::Ending, 0)),
        ),
        (
            "the last overtakes all, which come twice",
            &[
                (1000, 0, Close),
                (1100, 0, FinWait),
                (1200, 0, Established),
                (1300, 0, FinWait),
                (1400, 0, Established),
            ],
            Some((Stage::Closed, 0)),
        ),
        (
            "another connection between the same ends",
            &[(1000, 0, FinWait), (2000, 0, Established)],
            Some((Stage::Open, 0)),
        ),
        (
            "another connection, to the other server",
            &[(1000, 0, FinWait), (2000, 1, Established)],
            Some((Stage::Open, 1)),
        ),
        (
            "whose beginning overtakes the end of the one before",
            &[
                (0, 0, Established),
                (1000, 1, Established),
                (1200, 0, Close),
            ],
            Some((Stage::Open, 1)),
        ),
    ];
    for mode in ["dr", "nat", "tun"] {
        for (name, messages, expected) in cases {
            let side = Side::new(mode);
            let mut listener = side.listener();
            for (millis, server, state) in *messages {
                side.it_is(*millis);
                listener.take(&message(flow(1), *server, *state), at(*millis));
            }
            let there = side.conns().into_values().next();
            let expected = expected.map(|(stage, server)| (stage, end(SERVERS[server])));
            assert_eq!(there, expected, "{mode}: {name}");
        }
    }
}

#[test]
fn other_groups_and_what_is_no_message_change_nothing() {
    let side = Side::new("dr");
    let whole = message(flow(1), 0, ConnState::Established);
    let mut listener = side.listener();
    let mut other_group = whole.clone();
    other_group[1] = SYNC_ID + 1;
    for datagram in [&other_group, &whole[..whole.len() - 1], &[]] {
        listener.take(datagram, at(0));
    }
    assert_eq!(side.conns().len(), 0);
    listener.take(&whole, at(0));
    assert_eq!(side.conns().len(), 1);
}

/// Numbers that look random, the same ones each time.
struct Numbers(u64);

impl Numbers {
    /// One below `end` (xorshift).
    fn below(&mut self, end: u64) -> u64 {
        for shift in [13, -7, 17] {
            self.0 ^= match shift {
                left @ 1.. => self.0 << left,
                right => self.0 >> -right,
            };
        }
        self.0 % end
    }
}

/// Conns come, change and go, and every fifth datagram is lost, every fifth comes twice, and all come late by up to 400 ms.
#[test]
fn over_a_bad_network_conns_are_as_the_last_that_came_through_says() {
    const CONNS: u16 = 24;
    const STEP: u64 = 100;
    const STEPS: u64 = 60;
    for seed in 1..=3 {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let (one, two) = (Side::new("dr"), Side::new("dr"));
        let (mut teller, mut listener) = (one.teller(), two.listener());
        // Which connection of each client's was heard of, and how far it had come.
        let mut heard: HashMap<FlowKey, (u32, Stage)> = HashMap::new();
        // Each client's connection: which one it is, its server, how far it is, since when.
        let mut clients = vec![(0_u32, 0_usize, Stage::Closed, 0_u64); CONNS.into()];
        let mut on_the_way: BTreeMap<(u64, u64), (Vec<u8>, Vec<_>)> = BTreeMap::new();
        let mut arrived: HashMap<FlowKey, (u32, Stage, usize)> = HashMap::new();
        for step in 1..=STEPS {
            let now = 1000 + step * STEP;
            for (number, client) in (0..).zip(&mut clients) {
                let (which, server, stage, since) = *client;
                *client = match (stage, numbers.below(6)) {
                    // A client does not take a port again at once.
                    (Stage::Closed, 0) if which == 0 || now - since > 1200 => {
                        (which + 1, numbers.below(2) as usize, Stage::Open, now)
                    }
                    (Stage::Open, 0) => (which, server, Stage::Ending, now),
                    (Stage::Ending, 0) => (which, server, Stage::Closed, now),
                    _ => continue,
                };
                let state = match client.2 {
                    Stage::Open | Stage::Opening => ConnState::Established,
                    Stage::Ending => ConnState::FinWait,
                    Stage::Closed => ConnState::Close,
                };
                one.has(flow(number), client.1, state);
            }
            one.it_is(now);
            for datagram in round(&mut teller, now) {
                let of = |conn: SyncConn| {
                    let number = usize::from(conn.client.port - 1000);
                    let (which, server, ..) = clients[number];
                    let state = conn.state.conn_state(conn.protocol);
                    (conn.flow(), (which, state.stage(), server))
                };
                let says: Vec<_> = told(std::slice::from_ref(&datagram))
                    .into_iter()
                    .map(of)
                    .collect();
                let copies = match numbers.below(5) {
                    0 => 0,
                    1 => 2,
                    _ => 1,
                };
                for _ in 0..copies {
                    let comes = (now + numbers.below(400), numbers.below(u64::MAX));
                    on_the_way.insert(comes, (datagram.clone(), says.clone()));
                }
            }
            let later = on_the_way.split_off(&(now + STEP, 0));
            for ((millis, _), (datagram, says)) in std::mem::replace(&mut on_the_way, later) {
                two.it_is(millis);
                listener.take(&datagram, at(millis));
                for (flow, says) in says {
                    let furthest = heard.entry(flow).or_insert((says.0, says.1));
                    if (says.0, says.1) < *furthest {
                        continue;
                    }
                    *furthest = (says.0, says.1);
                    let there = arrived.entry(flow).or_insert(says);
                    // As in the kernel, the end of a conn of which nothing else came through ends no other.
                    if says.1 < Stage::Ending || says.2 == there.2 {
                        *there = says;
                    }
                }
            }
            let there = two.conns();
            for (flow, (_, stage, server)) in &arrived {
                match there.get(flow) {
                    Some(found) => {
                        assert_eq!(*found, (*stage, end(SERVERS[*server])), "{seed}: {flow:?}");
                    }
                    // What was reset lives for ten seconds more.
                    None => assert_eq!(*stage, Stage::Closed, "{seed}: {flow:?}"),
                }
            }
        }
        assert!(arrived.len() > usize::from(CONNS) / 2, "{seed}");

        // Whatever was lost: conns that live on are told of again, and no other lives for ever.
        let now = 1000 + 500_000;
        one.it_is(now);
        one.wait_for_conns(|conns| conns.values().all(|(stage, _)| *stage == Stage::Open));
        two.it_is(now);
        for datagram in round(&mut teller, now) {
            listener.take(&datagram, at(now));
        }
        let there = two.conns();
        for (flow, conn) in one.conns() {
            assert_eq!(there.get(&flow), Some(&conn), "{seed}: {flow:?}");
        }
        two.it_is(now + 901_000);
        two.wait_for_conns(HashMap::is_empty);
    }
}

/// Two masters of one group, each of which listens to the other.
#[test]
fn nobody_tells_of_what_he_was_told_and_conns_of_the_dead_end() {
    const EACH: u16 = 5;
    const STEP: u64 = 50_000;
    let (one, two) = (Side::new("dr"), Side::new("dr"));
    let (mut one_tells, mut two_tells) = (one.teller(), two.teller());
    let (mut one_hears, mut two_hears) = (one.listener(), two.listener());
    let (of_one, of_two) = (0..EACH, EACH..2 * EACH);
    let mut tellings: HashMap<(&str, FlowKey), u32> = HashMap::new();
    for step in 0..80_u64 {
        let now = step * STEP;
        let one_lives = step < 30;
        one.it_is(now);
        two.it_is(now);
        let sides = [
            (
                "one",
                &one,
                of_one.clone(),
                &mut one_tells,
                &mut two_hears,
                one_lives,
            ),
            (
                "two",
                &two,
                of_two.clone(),
                &mut two_tells,
                &mut one_hears,
                true,
            ),
        ];
        for (name, side, its, teller, other, lives) in sides {
            if !lives {
                continue;
            }
            for number in its {
                side.has(flow(number), 0, ConnState::Established);
            }
            for datagram in round(teller, now) {
                for conn in told(std::slice::from_ref(&datagram)) {
                    *tellings.entry((name, conn.flow())).or_default() += 1;
                }
                other.take(&datagram, at(now));
            }
        }
        if step == 29 {
            assert_eq!(two.conns().len(), usize::from(2 * EACH));
        }
    }
    let expected = of_one.map(|number| ("one", flow(number)));
    let expected: HashSet<_> = expected
        .chain(of_two.clone().map(|number| ("two", flow(number))))
        .collect();
    let found: HashSet<_> = tellings.keys().copied().collect();
    assert_eq!(found, expected);
    // Half of 900 seconds is the time between two of them: four in 1500 seconds, nine in 4000.
    for ((name, _), times) in tellings {
        assert_eq!(times, if name == "one" { 4 } else { 9 }, "{name}");
    }
    let left: HashSet<_> = two.conns().into_keys().collect();
    assert_eq!(left, of_two.map(flow).collect());
}

#[test]
fn what_nobody_tells_of_any_more_is_ours_when_we_stop_listening() {
    let side = Side::new("dr");
    side.listener()
        .take(&message(flow(1), 0, ConnState::Established), at(0));
    let mut teller = side.teller();
    assert_eq!(told(&round(&mut teller, 1000)).len(), 0);
    side.heard.forget();
    assert_eq!(told(&round(&mut teller, 2000)).len(), 1);
}

#[test]
fn a_flood_of_conns_is_told_of_bit_by_bit_and_each_once() {
    let side = Side::new("dr");
    for number in 0..25 {
        side.has(flow(number), 0, ConnState::Established);
    }
    let mut teller = side.teller().with_most_per_round(10);
    let mut flows = HashSet::new();
    for (millis, count) in [(0, 10), (1000, 10), (2000, 5), (3000, 0)] {
        let told = told(&round(&mut teller, millis));
        assert_eq!(told.len(), count, "{millis}");
        flows.extend(told.iter().map(SyncConn::flow));
    }
    assert_eq!(flows.len(), 25);
    let longest = round(&mut side.teller(), 0)
        .into_iter()
        .map(|datagram| datagram.len());
    assert!(longest.max().is_some_and(|longest| longest <= 8 + 3 * 36));
}

#[test]
fn templates_are_shared_follow_the_one_who_tells_and_are_not_told_of_in_turn() {
    let (one, two) = (Side::new("nat"), Side::new("nat"));
    let (mut one_tells, mut two_tells) = (one.teller(), two.teller());
    let mut two_hears = two.listener();
    let key = TemplateKey {
        client: end("192.0.2.1:0").addr,
        asked: Asked::Service(ServiceKey {
            vip: end(VIP),
            protocol: Protocol::Tcp,
        }),
    };
    let used = |server: usize| {
        one.engine.adopt_templates(&[ForeignTemplate {
            key,
            rip: end(SERVERS[server]),
            timeout: Duration::ZERO,
            is_assured: false,
        }]);
    };
    // When, whether a client uses it just then and which server that leads to, how often it is told of.
    for (seconds, server, messages) in [
        (0, Some(0), 1),
        (5, Some(0), 0),
        (10, None, 1),
        (20, None, 0),
        (30, Some(1), 1),
        (100, Some(1), 1),
        (300, None, 0),
    ] {
        let now = 1000 * seconds;
        one.it_is(now);
        two.it_is(now);
        server.into_iter().for_each(&used);
        let datagrams = round(&mut one_tells, now);
        assert_eq!(datagrams.len(), messages, "{seconds}");
        for datagram in datagrams {
            two_hears.take(&datagram, at(now));
        }
        assert_eq!(two.templates(), one.templates(), "{seconds}");
        assert_eq!(two.templates().len(), 1, "{seconds}");
        assert_eq!(round(&mut two_tells, now), [[0_u8; 0]; 0], "{seconds}");
    }
    // Nobody has used it for its 300 seconds.
    two.it_is(402_000);
    let end = Instant::now() + LIMIT;
    while !two.templates().is_empty() {
        assert!(Instant::now() < end);
    }
}
