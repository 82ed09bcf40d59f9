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
    /// Whether a conn is established only when its server has answered too, where answers come through us, and waits
    /// longer half open where they do not: IPVS's tables against floods. (The kernel's 1 and 2, which follow free memory,
    /// have no meaning here, where memory is reserved.)
    pub secure_tcp: bool,
    /// Whether any TCP segment but RST opens a conn, not just a SYN.
    pub sloppy_tcp: bool,
    /// Whether packets that may not be fragmented and do not fit are refused with an ICMP error, and tunnels say "don't
    /// fragment" where the packet inside does.
    pub pmtu_disc: bool,
    /// Whether a server's packet that belongs to no conn is answered with port unreachable, instead of being left to the
    /// kernel.
    pub nat_icmp_send: bool,
    /// How many ICMP errors of its own a worker sends in a second (the kernel's `net.ipv4.icmp_msgs_per_sec`); 0: as
    /// many as there are causes.
    pub icmp_msgs_per_sec: u32,
    /// How many of them it sends at once (the kernel's `net.ipv4.icmp_msgs_burst`).
    pub icmp_msgs_burst: u32,
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
            secure_tcp: false,
            sloppy_tcp: false,
            pmtu_disc: true,
            nat_icmp_send: false,
            icmp_msgs_per_sec: 1000,
            icmp_msgs_burst: 50,
            lblc_expiration: TABLE_EXPIRATION,
            lblcr_expiration: TABLE_EXPIRATION,
        }
    }
}
