//! A layer-4 load balancer to embed.
//!
//! An [`Engine`] is made from a [`Config`]; it makes a [`Worker`] for each [`Port`], and a worker's
//! [`turn`](Worker::turn) moves a batch of packets. With the feature `live` (on by default) a
//! [`live::Balancer`] does all that on real interfaces: AF_XDP, the XDP program, next hops from the kernel, a thread
//! per queue.

mod config;
mod conns;
mod difference;
mod engine;
#[cfg(feature = "live")]
pub mod live;
mod network;
mod plan;
mod registry;
mod service_table;
mod table_memory;
mod why;

pub use config::{Config, ConfigError, EngineConfig, ServerConfig, ServiceConfig, Workers};
pub use conns::{ConnFilter, ConnRecord, EndpointFilter, ParseEndpointFilterError};
pub use difference::{Change, Difference, ServerDifference, ServiceDifference, SettingDifference};
#[cfg(feature = "live")]
pub use engine::PlaceError;
pub use engine::{Engine, LocalPortsOf};
pub use network::{InterfaceConfig, NeighbourConfig, NetworkConfig, RouteConfig};
pub use registry::Registry;
pub use service_table::{
    Counted, Drain, FullNatSpec, Limit, Member, ParseServerAddressError, Refusal, ServerAddress,
    ServerSpec, ServiceSpec, ServiceTable,
};

pub use lb_conn::{
    Asked, ConnTable, ConnView, LocalPorts, LocalUse, Template, TemplateKey, Timeouts,
};
pub use lb_model::{
    Addr, Batch, ClientAddress, Conduct, Conn, ConnState, Dest, Dests, Direction, DropReason,
    Endpoint, FlowKey, Frame, FrameCensus, HashedFields, Hop, HopCache, Interface, InterfaceId,
    Introduction, IpvsSettings, Mac, Mark, MarkRule, Mode, NextHops, Packet, Persistence, Port,
    Prefix, Prepared, Protocol, PuntReason, Replies, Request, Resolution, Rss, Scheduler,
    SchedulerFlags, SchedulerKind, ServiceId, ServiceKey, ServiceSettings, Stage, Thresholds, Time,
    Traffic, Tunnel, TunnelChecksum, Verdict, VirtualService,
};
pub use lb_runtime::{
    Adoption, Asker, Counter, Counters, Decision, Decisions, Effort, Foreign, ForeignTemplate,
    HandOvers, Inside, Observed, Observer, Place, Resolver, TURN_BOUNDS, Turn, Worker,
};
pub use lb_schedulers::SchedulerOptions;
pub use table_memory::table_memory;
pub use why::{Choice, NextHop, Why};
