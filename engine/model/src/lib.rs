//! The words of layer-4 load balancing as types, and the traits the engine is built on.
//!
//! Everything above `lb-wire` speaks in these types. The crate does no I/O and reads no clock: time is an argument.
//!
//! | word | type |
//! | --- | --- |
//! | CIP VIP LIP DIP RIP | [`Addr`], with its port an [`Endpoint`] |
//! | one direction of a flow | [`FlowKey`] |
//! | virtual service, real server | [`VirtualService`], [`Dest`] |
//! | entry of the connection table | [`Conn`] |
//! | what stages work on | [`Batch`] of [`Packet`], each owning a [`Frame`] |
//! | how a packet ends | [`Verdict`] with a [`DropReason`] or [`PuntReason`] |
//! | what can be plugged in | [`Scheduler`], [`Mode`], [`Port`] |

mod addr;
mod conduct;
mod conn;
mod conn_count;
mod dest;
mod flow;
mod frame;
mod hop_cache;
mod introduction;
mod mark_rule;
mod mode;
mod next_hop;
mod packet;
mod port;
mod record;
mod rss;
mod scheduler;
mod scheduler_flags;
mod service;
mod settings;
mod time;
mod traffic;
mod tunnel;
mod verdict;

pub use addr::{Addr, Endpoint, ParseEndpointError};
pub use conduct::Conduct;
pub use conn::{ConnId, ConnState, Hit, Stage};
pub use dest::{Dest, Dests, Prepared, Thresholds};
pub use flow::{Direction, FlowHash, FlowKey, Protocol};
pub use frame::Frame;
pub use hop_cache::HopCache;
pub use introduction::{ClientAddress, Introduction};
pub use mark_rule::MarkRule;
pub use mode::{Mode, Replies};
pub use next_hop::{FrameEnds, Hop, Interface, InterfaceId, Mac, NextHops, Prefix, Resolution};
pub use packet::{BATCH, Batch, Headers, Packet, Reassembled, Related};
pub use port::{FrameCensus, Port, Waker};
pub use record::{Conn, ConnRecord, End, NewConn, WideEnds};
pub use rss::{HashedFields, Rss};
pub use scheduler::{Request, Scheduler, SchedulerKind};
pub use scheduler_flags::SchedulerFlags;
pub use service::{Mark, Persistence, ServiceId, ServiceKey, ServiceSettings, VirtualService};
pub use settings::IpvsSettings;
pub use time::Time;
pub use traffic::{Slot, Slots, Traffic};
pub use tunnel::{Tunnel, TunnelChecksum};
pub use verdict::{DropReason, PuntReason, Verdict};
