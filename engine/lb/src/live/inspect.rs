//! A look at the kernel's tables without a balancer.

use std::sync::Arc;

use lb_model::NextHops;
use lb_netlink::Kernel;

use super::LiveError;

/// What a balancer on these interfaces would take for next hops now.
pub fn next_hops_of(interfaces: &[String]) -> Result<Arc<NextHops>, LiveError> {
    Ok(Kernel::start(interfaces)?.next_hops().load_full())
}
