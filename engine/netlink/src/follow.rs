//! The loop that follows the kernel: read everything, then every change, then publish.
//!
//! Changes are listened for before the first reading, on a socket of their own, so that none falls between. What
//! the kernel says about links, addresses and routes only starts another reading (`mirror` says why); what it says
//! about neighbours is taken as it comes, for those change with the traffic. When the kernel says it had to drop
//! messages, everything begins anew.

use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use lb_model::Addr;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::NetlinkError;
use crate::error::io_error;
use crate::kernel::Published;
use crate::mirror::{Link, Mirror, Tables};
use crate::neighbour::Neighbour;
use crate::resolver::{Key, Pace};
use crate::route::KernelRoute;
use crate::source;

/// Changes come in swarms, one command of an administrator being several of them; this gathers a swarm.
const GATHER: Duration = Duration::from_millis(2);

/// A reading or a publication is followed by a pause this many times as long as it took, so that even a full
/// Internet table that never rests leaves most of a core to others.
const PAUSE_FACTOR: u32 = 10;

/// How often the neighbours of real servers are looked at; the kernel takes seconds to doubt one.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Before the kernel is spoken to again after it could not be.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Bytes of changes the kernel may keep for us while we read; more than the system allows is cut to that.
const BACKLOG: usize = 8 << 20;

const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// What other threads tell this one.
pub(crate) enum Command {
    Watch(Vec<Addr>),
    Stop,
}

/// The state of the loop.
pub(crate) struct Follower {
    mirror: Mirror,
    out: Arc<Published>,
    session: Session,
    watched: Vec<Addr>,
    pace: Pace,
    reading: Due,
    publication: Due,
}

impl Follower {
    /// Reads everything once and publishes it.
    pub async fn start(names: &[String], out: Arc<Published>) -> Result<Follower, NetlinkError> {
        let session = Session::open()?;
        let mirror = Mirror::new(names, session.read().await?)?;
        out.publish(mirror.next_hops());
        Ok(Follower {
            mirror,
            out,
            session,
            watched: Vec::new(),
            pace: Pace::default(),
            reading: Due::default(),
            publication: Due::default(),
        })
    }

    /// Follows every change until told to stop.
    pub async fn follow(
        mut self,
        mut requests: mpsc::Receiver<Key>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        let mut watch = interval(WATCH_EVERY);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.session.events.next() => self.take_all(event).await,
                command = commands.recv() => match command {
                    Some(Command::Watch(addresses)) => {
                        self.watched = addresses;
                        self.ask_for_watched();
                    }
                    Some(Command::Stop) | None => return,
                },
                Some((interface, addr)) = requests.recv() => self.ask((interface, addr)),
                _ = watch.tick() => self.ask_for_watched(),
                () = self.reading.come() => self.read_again().await,
                () = self.publication.come() => self.publish(),
            }
        }
    }

    /// Takes an event and all that wait behind it.
    async fn take_all(&mut self, first: Option<Event>) {
        let mut event = first;
        loop {
            match event {
                Some((message, _)) => match message.payload {
                    NetlinkPayload::InnerMessage(inner) => self.take(inner),
                    NetlinkPayload::Overrun(_) => {
                        tracing::warn!("the kernel dropped changes: reading all tables anew");
                        return self.begin_anew().await;
                    }
                    _ => {}
                },
                None => {
                    tracing::warn!("the connection to the kernel broke: opening another");
                    return self.begin_anew().await;
                }
            }
            match self.session.events.next().now_or_never() {
                Some(next) => event = next,
                None => return,
            }
        }
    }

    fn take(&mut self, message: RouteNetlinkMessage) {
        use RouteNetlinkMessage as M;
        match message {
            M::NewNeighbour(message) => {
                if let Some((index, addr, neighbour)) = Neighbour::read(&message) {
                    if neighbour.usable().is_some() {
                        self.pace.answered(addr);
                    }
                    if self.mirror.set_neighbour(index, addr, Some(neighbour)) {
                        self.publication.is_due();
                    }
                }
            }
            M::DelNeighbour(message) => {
                if let Some((index, addr, _)) = Neighbour::read(&message)
                    && self.mirror.set_neighbour(index, addr, None)
                {
                    self.publication.is_due();
                }
            }
            M::NewLink(message) | M::DelLink(message) if Link::read(&message).is_some() => {
                self.reading.is_due();
            }
            M::NewAddress(_) | M::DelAddress(_) | M::NewRoute(_) | M::DelRoute(_) => {
                self.reading.is_due();
            }
            _ => {}
        }
    }

    /// Opens a new session and reads everything in it, however long it takes to get one.
    async fn begin_anew(&mut self) {
        loop {
            match Session::open() {
                Ok(session) => {
                    self.session = session;
                    return self.read_again().await;
                }
                Err(error) => {
                    tracing::error!("{error}");
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn read_again(&mut self) {
        let began = Instant::now();
        match self.session.read().await {
            Ok(tables) => {
                self.mirror.load(tables);
                self.publication.is_due();
                self.ask_for_watched();
            }
            Err(error) => {
                tracing::error!("{error}");
                sleep(RETRY_AFTER).await;
                self.reading.is_due();
            }
        }
        self.reading.took(began.elapsed());
    }

    fn publish(&mut self) {
        let began = Instant::now();
        self.out.publish(self.mirror.next_hops());
        self.publication.took(began.elapsed());
    }

    fn ask_for_watched(&mut self) {
        for at in 0..self.watched.len() {
            if let Some(key) = self.mirror.way_to(self.watched[at]) {
                self.ask(key);
            }
        }
    }

    fn ask(&mut self, key: Key) {
        if let Some(index) = self.mirror.asks_about(key.0, key.1)
            && self.pace.may_ask(key, std::time::Instant::now())
        {
            self.session.ask(index, key.1);
        }
    }
}

/// Something to be done soon, but not too often.
#[derive(Default)]
struct Due {
    at: Option<Instant>,
    not_before: Option<Instant>,
}

impl Due {
    fn is_due(&mut self) {
        let soon = Instant::now() + GATHER;
        let allowed = self.not_before.map_or(soon, |t| t.max(soon));
        self.at.get_or_insert(allowed);
    }

    /// It was done just now.
    fn took(&mut self, time: Duration) {
        self.not_before = Some(Instant::now() + time * PAUSE_FACTOR);
    }

    /// Ends when the time has come, which it then forgets.
    async fn come(&mut self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
        self.at = None;
    }
}

type Event = (
    NetlinkMessage<RouteNetlinkMessage>,
    rtnetlink::sys::SocketAddr,
);

/// Two sockets: one that hears of changes, and one for questions, whose answers must not be lost in a flood.
struct Session {
    events: Box<dyn Stream<Item = Event> + Send + Unpin>,
    questions: Handle,
    /// What drives the sockets, and questions on their way; ended with the session.
    tasks: JoinSet<()>,
}

impl Session {
    fn open() -> Result<Session, NetlinkError> {
        let refused = || NetlinkError::refused("open a netlink socket");
        let mut tasks = JoinSet::new();
        let (mut listening, _, events) =
            rtnetlink::new_multicast_connection(&GROUPS).map_err(refused())?;
        let socket = listening.socket_mut().socket_ref();
        socket.set_rx_buf_sz(BACKLOG as i32).map_err(refused())?;
        tasks.spawn(listening);
        let (asking, questions, _) = rtnetlink::new_connection().map_err(refused())?;
        tasks.spawn(asking);
        Ok(Session {
            events: Box::new(events),
            questions,
            tasks,
        })
    }

    async fn read(&self) -> Result<Tables, NetlinkError> {
        let refused = NetlinkError::refused("read the kernel's tables");
        self.read_tables().await.map_err(refused)
    }

    /// One table after the other: a socket has room for one listing at a time, and a question is on its way as
    /// soon as it is made.
    async fn read_tables(&self) -> io::Result<Tables> {
        let links = self.questions.link().get().execute();
        let links = collect(links, Link::read).await?;
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut all = RouteMessageBuilder::<IpAddr>::new().build();
            all.header.address_family = family;
            let listed = self.questions.route().get(all).execute();
            routes.extend(collect(listed, KernelRoute::read).await?);
        }
        let sources = self.questions.address().get().execute();
        let sources = collect(sources, source::read).await?;
        let neighbours = self.questions.neighbours().get().execute();
        Ok(Tables {
            links,
            sources,
            routes,
            neighbours: collect(neighbours, Neighbour::read).await?,
        })
    }

    /// Has the kernel look for a neighbour, as if it had a packet for it.
    fn ask(&mut self, index: u32, addr: Addr) {
        let request = self
            .questions
            .neighbours()
            .add(index, addr.into())
            .replace()
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use);
        self.tasks.spawn(async move {
            if let Err(error) = request.execute().await {
                let error = io_error(error);
                tracing::debug!(
                    "the kernel does not look for {addr} on interface {index}: {error}"
                );
            }
        });
        // The set keeps the results of tasks that ended until somebody takes them.
        while self.tasks.try_join_next().is_some() {}
    }
}

async fn collect<M, T>(
    answers: impl Stream<Item = Result<M, rtnetlink::Error>>,
    read: impl Fn(&M) -> Option<T>,
) -> io::Result<Vec<T>> {
    let mut answers = std::pin::pin!(answers);
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        all.extend(read(&answer.map_err(io_error)?));
    }
    Ok(all)
}
