//! The command line and the listings of ipvsadm 1.31, as data.
//!
//! What an LVS administrator types becomes a [`Command`], and what the balancer answers becomes ipvsadm's text again,
//! byte for byte, with its exit codes and its messages for the same mistakes. In between stands whoever holds the
//! services: anything that implements [`Ipvs`], here or behind a socket.
//!
//! | step | here |
//! | --- | --- |
//! | words into options, as popt does it | `popt`, `option` |
//! | options into a draft, one by one | `draft`, `value`, `address` |
//! | which options go together | `legal`, `kind` |
//! | the whole of it into a command | [`parse`], `assemble` |
//! | command to the balancer, refusals into messages | [`execute`], [`Ipvs`], [`Refusal`] |
//! | rows into columns | [`listing`] |
//! | rows into rules for `-R` | [`save`] |
//!
//! DPVS's `-b`/`--fullnat` on `-a` and `-e`, its local addresses (`-P -Q -G` with `-z` and `-F`) and our `--enat` and
//! `-S --complete` are understood as well; they are options only beside their commands, so that everywhere else ipvsadm's
//! own answer stands.
//!
//! Nothing here reads files, resolves names or asks a clock: names come from [`Names`], text goes to [`Streams`].

mod address;
mod assemble;
mod command;
mod daemon;
mod draft;
mod execute;
mod ipvs;
mod kind;
mod legal;
pub mod listing;
mod names;
mod option;
mod order;
mod parse;
mod popt;
mod restore;
mod row;
pub mod save;
mod server;
mod service;
mod usage;
mod value;

pub use lb_model::{SchedulerFlags, Traffic};

pub use command::{Command, Listing, Save, Timeouts};
pub use daemon::{Daemon, Role};
pub use execute::{Streams, execute, run};
pub use ipvs::{Ipvs, Next, Refusal};
pub use names::{Names, NoNames, ServiceNames};
pub use parse::parse;
pub use row::{ConnRow, EntryState, LocalAddressRow, ServerRow, ServiceRow};
pub use server::{Forwarding, ServerSettings, Tunnel, TunnelChecksum};
pub use service::{Family, Mask, Persistence, ServiceId, ServiceSettings, Transport};
pub use usage::{HELP, UsageError, VERSION};
