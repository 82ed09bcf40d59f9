//! The options that exist.

/// An option, whether it was given by its letter or its long name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flag {
    AddService,
    EditService,
    DeleteService,
    Flush,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
    AddLocalAddress,
    DeleteLocalAddress,
    ListLocalAddresses,
    Help,
    Version,
    Tcp,
    Udp,
    Sctp,
    Mark,
    Ipv6,
    Scheduler,
    SchedulerFlags,
    Persistent,
    Netmask,
    Engine,
    OnePacket,
    Server,
    Direct,
    Tunnel,
    Nat,
    FullNat,
    Enat,
    Weight,
    UpperThreshold,
    LowerThreshold,
    TunnelType,
    TunnelPort,
    TunnelNoChecksum,
    TunnelChecksum,
    TunnelRemoteChecksum,
    LocalAddress,
    LocalInterface,
    Numeric,
    Conns,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    TunnelInfo,
    NoSort,
    Sort,
    Exact,
    Complete,
    SyncId,
    SyncMaxLength,
    McastInterface,
    McastGroup,
    McastPort,
    McastTtl,
}

/// Whether a value follows an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Absent,
    Required,
    /// The next word is the value unless it starts with a dash.
    Optional,
}

use Value::{Absent, Optional, Required};

/// How an option is written.
pub(crate) struct Spelling {
    pub(crate) long: &'static str,
    pub(crate) letter: Option<char>,
    pub(crate) flag: Flag,
    pub(crate) value: Value,
}

const fn spelling(long: &'static str, letter: Option<char>, flag: Flag, value: Value) -> Spelling {
    Spelling {
        long,
        letter,
        flag,
        value,
    }
}

/// The option of a letter or long name, beside a command; the command itself stands beside none.
pub(crate) fn find(
    command: Option<Flag>,
    named: impl Fn(&Spelling) -> bool,
) -> Option<&'static Spelling> {
    let special: &[Spelling] = match command {
        Some(Flag::AddServer | Flag::EditServer) => SERVER,
        Some(Flag::AddLocalAddress | Flag::DeleteLocalAddress) => LOCAL_ADDRESS,
        Some(Flag::Save) => SAVE,
        None => COMMANDS,
        Some(_) => &[],
    };
    special.iter().chain(COMMON).find(|s| named(s))
}

/// DPVS's and our commands; they are nothing when they do not come first.
const COMMANDS: &[Spelling] = &[
    spelling("add-laddr", Some('P'), Flag::AddLocalAddress, Absent),
    spelling("del-laddr", Some('Q'), Flag::DeleteLocalAddress, Absent),
    spelling("get-laddr", Some('G'), Flag::ListLocalAddresses, Absent),
];

/// Beside `-a` and `-e`; everywhere else `-b` is ipvsadm's, the flags of a scheduler.
const SERVER: &[Spelling] = &[
    spelling("fullnat", Some('b'), Flag::FullNat, Absent),
    spelling("enat", None, Flag::Enat, Absent),
];

const LOCAL_ADDRESS: &[Spelling] = &[
    spelling("laddr", Some('z'), Flag::LocalAddress, Required),
    spelling("ifname", Some('F'), Flag::LocalInterface, Required),
];

const SAVE: &[Spelling] = &[spelling("complete", None, Flag::Complete, Absent)];

/// ipvsadm's own.
const COMMON: &[Spelling] = &[
    spelling("add-service", Some('A'), Flag::AddService, Absent),
    spelling("edit-service", Some('E'), Flag::EditService, Absent),
    spelling("delete-service", Some('D'), Flag::DeleteService, Absent),
    spelling("clear", Some('C'), Flag::Flush, Absent),
    spelling("list", Some('L'), Flag::List, Absent),
    spelling("list", Some('l'), Flag::List, Absent),
    spelling("zero", Some('Z'), Flag::Zero, Absent),
    spelling("add-server", Some('a'), Flag::AddServer, Absent),
    spelling("edit-server", Some('e'), Flag::EditServer, Absent),
    spelling("delete-server", Some('d'), Flag::DeleteServer, Absent),
    spelling("set", None, Flag::Set, Absent),
    spelling("help", Some('h'), Flag::Help, Absent),
    spelling("version", Some('v'), Flag::Version, Absent),
    spelling("restore", Some('R'), Flag::Restore, Absent),
    spelling("save", Some('S'), Flag::Save, Absent),
    spelling("start-daemon", None, Flag::StartDaemon, Required),
    spelling("stop-daemon", None, Flag::StopDaemon, Required),
    spelling("tcp-service", Some('t'), Flag::Tcp, Required),
    spelling("udp-service", Some('u'), Flag::Udp, Required),
    spelling("sctp-service", None, Flag::Sctp, Required),
    spelling("fwmark-service", Some('f'), Flag::Mark, Required),
    spelling("ipv6", Some('6'), Flag::Ipv6, Absent),
    spelling("scheduler", Some('s'), Flag::Scheduler, Required),
    spelling("sched-flags", Some('b'), Flag::SchedulerFlags, Required),
    spelling("persistent", Some('p'), Flag::Persistent, Optional),
    spelling("netmask", Some('M'), Flag::Netmask, Required),
    spelling("pe", None, Flag::Engine, Required),
    spelling("ops", Some('o'), Flag::OnePacket, Absent),
    spelling("real-server", Some('r'), Flag::Server, Required),
    spelling("gatewaying", Some('g'), Flag::Direct, Absent),
    spelling("ipip", Some('i'), Flag::Tunnel, Absent),
    spelling("masquerading", Some('m'), Flag::Nat, Absent),
    spelling("weight", Some('w'), Flag::Weight, Required),
    spelling("u-threshold", Some('x'), Flag::UpperThreshold, Required),
    spelling("l-threshold", Some('y'), Flag::LowerThreshold, Required),
    spelling("tun-type", None, Flag::TunnelType, Required),
    spelling("tun-port", None, Flag::TunnelPort, Required),
    spelling("tun-nocsum", None, Flag::TunnelNoChecksum, Absent),
    spelling("tun-csum", None, Flag::TunnelChecksum, Absent),
    spelling("tun-remcsum", None, Flag::TunnelRemoteChecksum, Absent),
    spelling("numeric", Some('n'), Flag::Numeric, Absent),
    spelling("connection", Some('c'), Flag::Conns, Absent),
    spelling("timeout", None, Flag::Timeout, Absent),
    spelling("daemon", None, Flag::Daemon, Absent),
    spelling("stats", None, Flag::Stats, Absent),
    spelling("rate", None, Flag::Rate, Absent),
    spelling("thresholds", None, Flag::Thresholds, Absent),
    spelling("persistent-conn", None, Flag::PersistentConn, Absent),
    spelling("tun-info", None, Flag::TunnelInfo, Absent),
    spelling("nosort", None, Flag::NoSort, Absent),
    spelling("sort", None, Flag::Sort, Absent),
    spelling("exact", Some('X'), Flag::Exact, Absent),
    spelling("syncid", None, Flag::SyncId, Required),
    spelling("sync-maxlen", None, Flag::SyncMaxLength, Required),
    spelling("mcast-interface", None, Flag::McastInterface, Required),
    spelling("mcast-group", None, Flag::McastGroup, Required),
    spelling("mcast-port", None, Flag::McastPort, Required),
    spelling("mcast-ttl", None, Flag::McastTtl, Required),
];
