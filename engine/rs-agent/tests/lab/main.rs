//! `lbrs` on servers behind the real balancer, with unmodified programs at both ends.
//!
//! Every test makes its own lab, so they may run side by side. Where there is no root or no XDP they say
//! SKIPPED; with `LB_REQUIRE_NETNS=1` they fail then.

mod caller;
mod enat;
mod fnat;
mod rig;
mod roles;
mod toa;
mod tunnel;
