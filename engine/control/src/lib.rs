//! What `lbd` and its control programs say to each other over the control socket: HTTP/1.1 with JSON, so that
//! `curl --unix-socket` and `jq` take part as well as `lbctl` does.
//!
//! Every path begins with [`VERSION`]. Within a version fields may be added and none is renamed, removed or given
//! another meaning; `GET /openapi.json` describes it all. What is refused comes with a status of 400 or above and a
//! [`Problem`].

mod capture;
mod change;
mod check;
mod conn;
mod health;
mod ipvsadm;
mod problem;
mod service;
mod status;
mod why;

pub use capture::CaptureQuery;
pub use change::{Drain, DrainRequest, Plan, PlanRequest};
pub use check::{PassiveCheck, ServerCheck, ServiceChecks};
pub use conn::{Conn, ConnCount, ConnQuery};
pub use health::{Health, HealthQuery, StandbyRequest};
pub use ipvsadm::{IpvsadmLine, IpvsadmRequest};
pub use problem::Problem;
pub use service::{Server, Service, Traffic};
pub use status::{Counter, Status};
pub use why::{Decision, Hop, Rewritten, Why, WhyQuery, WhyWorker};

/// Where `lbd` listens if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lbd.sock";

/// The environment variable that says otherwise.
pub const SOCKET_VARIABLE: &str = "LBD_SOCKET";

/// The first part of every path.
pub const VERSION: &str = "/v1";
