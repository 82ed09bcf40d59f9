//! The kernel's `net.ipv4.vs.*` switches, under their names, with their defaults.

use std::time::Duration;

/// What Linux calls `net.ipv4.vs.*` (kernel `Documentation/networking/ipvs-sysctl.rst`), as far as it makes sense here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpvsSettings {
    /// What a SYN means on a conn that is closing: 0: a packet of that conn; bit 0: a new connection if the conn is in
    /// TIME_WAIT or CLOSE; bit 1: also in FIN_WAIT, where replies do not come through us.
    pub conn_reuse_mode: u8,
    /// Whether conns of a removed server end at once, instead of having their packets dropped until they time out.
    pub expire_nodest_conn: bool,
    /// Whether a persistence template that leads to a quiesced server (weight 0) is passed over.
    pub expire_quiescent_template: bool,
    /// Whether any TCP segment but RST opens a conn, not just a SYN.
    pub sloppy_tcp: bool,
    /// How long an unused entry of an `lblc` table lives.
    pub lblc_expiration: Duration,
    /// How long an unused entry of an `lblcr` table lives.
    pub lblcr_expiration: Duration,
}

/// 24 hours (kernel `ip_vs_lblc.c`, `DEFAULT_EXPIRATION`).
const TABLE_EXPIRATION: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for IpvsSettings {
    fn default() -> IpvsSettings {
        IpvsSettings {
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            sloppy_tcp: false,
            lblc_expiration: TABLE_EXPIRATION,
            lblcr_expiration: TABLE_EXPIRATION,
        }
    }
}
