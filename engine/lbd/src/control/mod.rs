//! The control socket: what `lbctl` and other clients ask of a running daemon.
//!
//! Requests are answered by the daemon's own threads. Workers hear of them only through the engine, so that however
//! slow or hostile a client is, packets do not wait for it.

mod api;
mod capture;
mod change;
mod checks;
mod conns;
mod health;
mod ipvsadm;
mod office;
mod refusal;
mod rehearsal;
mod server;
mod services;
mod socket;
mod status;
mod stream;
mod why;

pub use office::Office;
pub use rehearsal::Rehearsal;
pub use server::serve;
pub use socket::ControlSocket;

use std::env;
use std::path::{Path, PathBuf};

/// Where to listen: where the configuration says, or the environment, or where everybody looks.
pub fn socket_path(configured: Option<&Path>) -> PathBuf {
    configured
        .map(Path::to_owned)
        .or_else(|| env::var_os(lb_control::SOCKET_VARIABLE).map(PathBuf::from))
        .unwrap_or_else(|| lb_control::DEFAULT_SOCKET.into())
}
