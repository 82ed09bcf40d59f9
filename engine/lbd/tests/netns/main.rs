//! `lbd` between real clients and real servers, over AF_XDP on veth.
//!
//! Every test makes its own lab, so they may run side by side. Where there is no root or no XDP they say
//! SKIPPED; with `LB_REQUIRE_NETNS=1` they fail then.

mod administration;
mod busy_poll;
mod changes;
mod conversations;
mod doctor;
mod endings;
mod full_nat;
mod kernel;
mod neighbours;
mod path_mtu;
mod queues;
mod requests;
mod rig;
mod transfers;
mod udp;
mod wide;
