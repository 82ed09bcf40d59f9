//! What an administrator can set about schedulers.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What an administrator can set about schedulers: ipvsadm's `-b` flags and the kernel's sysctls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// `-b sh-fallback`, `mh-fallback`, `flag-1`: where the chosen server takes no conns, another does.
    pub fallback: bool,
    /// `-b sh-port`, `mh-port`, `flag-2`: the client's port counts too, not only its address.
    pub port: bool,
    /// How long `lblc` remembers the server of an unused destination.
    pub lblc_expiration: Duration,
    /// How long `lblcr` remembers the servers of an unused destination, and leaves a set of them as large as it is.
    pub lblcr_expiration: Duration,
}

impl Default for SchedulerOptions {
    /// The kernel's.
    fn default() -> SchedulerOptions {
        SchedulerOptions {
            fallback: false,
            port: false,
            lblc_expiration: DAY,
            lblcr_expiration: DAY,
        }
    }
}
