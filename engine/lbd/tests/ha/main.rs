//! More than one balancer, with the daemons that people run beside them: keepalived and BIRD.
//!
//! Every test makes its own namespaces. Where there is no root or no XDP, or one of the daemons is not installed, it says
//! SKIPPED; with `LB_REQUIRE_NETNS=1` it fails then.

mod ecmp;
mod going;
mod node;
mod pair;
mod segment;
mod servers;
mod steady;
mod synchronised;
