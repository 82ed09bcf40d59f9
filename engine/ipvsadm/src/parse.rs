//! A command line into a [`Command`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::address::{aton, host_and_port, leading_number, number};
use crate::command::{Command, Listing, Save, Timeouts};
use crate::legal::{Given, Kind, TunnelType};
use crate::listing::{Columns, TableFormat};
use crate::option::Flag;
use crate::popt::Words;
use crate::server::{Forwarding, ServerSettings, Tunnel, TunnelChecksum};
use crate::service::{
    Family, Mask, Persistence, SchedulerFlags, ServiceId, ServiceSettings, Transport,
};
use crate::{Daemon, Names, Role, UsageError};

/// `-p` without a time-out; the manual says 300, the program does 360.
const DEFAULT_PERSISTENCE_S: u32 = 360;

/// 31 days, for `-p` and `--set`.
const LONGEST_TIMEOUT_S: i64 = 86_400 * 31;

/// The kernel has room for 15 letters, and ipvsadm cuts a longer name.
const SCHEDULER_NAME: usize = 15;

const DEFAULT_SCHEDULER: &str = "wlc";

/// Reads the words after the program's name. None at all is a listing.
pub fn parse(words: &[&str], names: &dyn Names) -> Result<Command, UsageError> {
    if words.is_empty() {
        return Ok(Command::List(Listing::Table(TableFormat::default())));
    }
    let mut words = Words::new(words);
    // Without a command, and that includes a first option that cannot be read, there is nothing to complain about.
    let Ok(Some((command, value))) = words.next_option(None) else {
        return Err(UsageError::no_command());
    };
    let mut draft = Draft::default();
    match command {
        Flag::Help => return Ok(Command::Help),
        Flag::Version => return Ok(Command::Version),
        Flag::StartDaemon => {
            draft.role = Some(role(value, "illegal start-daemon parameter specified")?)
        }
        Flag::StopDaemon => draft.role = Some(role(value, "illegal start_daemon specified")?),
        Flag::AddService
        | Flag::EditService
        | Flag::DeleteService
        | Flag::Flush
        | Flag::List
        | Flag::AddServer
        | Flag::DeleteServer
        | Flag::EditServer
        | Flag::Set
        | Flag::Restore
        | Flag::Save
        | Flag::Zero
        | Flag::AddLocalAddress
        | Flag::DeleteLocalAddress
        | Flag::ListLocalAddresses => {}
        _ => return Err(UsageError::no_command()),
    }
    loop {
        match words.next_option(Some(command)) {
            Ok(Some((flag, value))) => draft.option(flag, value, words.last(), names)?,
            Ok(None) => break,
            Err(e) => return Err(UsageError::unreadable(words.last(), e.text())),
        }
    }
    let mut arguments = words.into_arguments().into_iter();
    let timeouts = match command {
        Flag::Set => Some(set_arguments(&mut arguments)?),
        _ => None,
    };
    if let Some(extra) = arguments.next() {
        return Err(UsageError::mistake(format!("unexpected argument {extra}")));
    }
    draft.settle_flags()?;
    draft.given.check_command(command)?;
    draft.into_command(command, timeouts)
}

/// The options so far. Their order matters: a value is read with what stands before it.
#[derive(Default)]
struct Draft<'a> {
    given: Given,
    transport: Option<Transport>,
    vip: Option<IpAddr>,
    vport: u16,
    mark: u32,
    family: Option<Family>,
    mask: Option<Mask>,
    scheduler: &'a str,
    flag_names: &'a str,
    flags: SchedulerFlags,
    persistence_s: Option<u32>,
    engine: Option<String>,
    server: Option<SocketAddr>,
    forwarding: Option<Flag>,
    weight: Option<u32>,
    upper_threshold: u32,
    lower_threshold: u32,
    tunnel: Option<TunnelType>,
    tunnel_port: u16,
    role: Option<Role>,
    mcast_interface: &'a str,
    sync_id: u8,
    sync_max_length: Option<u16>,
    mcast_group: Option<IpAddr>,
    mcast_port: Option<u16>,
    mcast_ttl: Option<u8>,
    local_address: Option<IpAddr>,
    local_interface: Option<String>,
}

impl<'a> Draft<'a> {
    fn option(
        &mut self,
        flag: Flag,
        value: Option<&'a str>,
        word: &str,
        names: &dyn Names,
    ) -> Result<(), UsageError> {
        if let Some(kind) = kind(flag) {
            self.given.add(kind)?;
        }
        let text = value.unwrap_or_default();
        match flag {
            Flag::Tcp => self.service(Transport::Tcp, text, names)?,
            Flag::Udp => self.service(Transport::Udp, text, names)?,
            Flag::Sctp => self.service(Transport::Sctp, text, names)?,
            Flag::Mark => {
                self.mark = number(text, 1..=i64::from(u32::MAX)).ok_or_else(|| {
                    UsageError::mistake(format!("invalid fwmark value `{text}' specified"))
                })? as u32;
                self.family = Some(Family::V4);
                self.transport = Some(Transport::Tcp);
            }
            Flag::Ipv6 if self.mark == 0 => return Err(UsageError::mistake("-6 used before -f\n")),
            Flag::Ipv6 => {
                self.family = Some(Family::V6);
                self.mask = Some(Mask::whole(Family::V6));
            }
            Flag::Scheduler => self.scheduler = &text[..text.floor_char_boundary(SCHEDULER_NAME)],
            Flag::SchedulerFlags => self.flag_names = text,
            Flag::Persistent => {
                self.persistence_s = Some(match value {
                    None => DEFAULT_PERSISTENCE_S,
                    Some(text) => timeout(text, 1)?,
                });
            }
            Flag::Netmask => self.mask = Some(self.netmask(text, names)?),
            Flag::Engine => self.engine = Some(text.to_owned()),
            Flag::Server => self.server(text, names)?,
            Flag::Direct | Flag::Tunnel | Flag::Nat | Flag::FullNat | Flag::Enat => {
                self.forwarding = Some(flag)
            }
            Flag::Weight => self.weight = Some(natural(text, "illegal weight specified")?),
            Flag::UpperThreshold => {
                self.upper_threshold = natural(text, "illegal u_threshold specified")?
            }
            Flag::LowerThreshold => {
                self.lower_threshold = natural(text, "illegal l_threshold specified")?
            }
            Flag::TunnelType => {
                let tunnel = TunnelType::from_name(text);
                self.tunnel = Some(
                    tunnel.ok_or_else(|| UsageError::mistake("illegal tunnel type specified"))?,
                );
            }
            Flag::TunnelPort => {
                self.tunnel_port = within(text, 1, 65_535, "illegal tunnel port specified")? as u16
            }
            Flag::LocalAddress => {
                let address =
                    host_and_port(text, self.transport, names).map(|(address, _)| address);
                self.local_address = Some(
                    address
                        .ok_or_else(|| UsageError::mistake("illegal local address specified"))?,
                );
            }
            Flag::LocalInterface => self.local_interface = Some(text.to_owned()),
            Flag::SyncId => self.sync_id = within(text, 0, 255, "illegal syncid specified")? as u8,
            Flag::SyncMaxLength => {
                self.sync_max_length =
                    Some(within(text, 1, 65_535 - 20 - 8, "illegal sync-maxlen specified")? as u16);
            }
            Flag::McastInterface => self.mcast_interface = text,
            Flag::McastGroup => self.mcast_group = Some(multicast(text)?),
            Flag::McastPort => {
                self.mcast_port =
                    Some(within(text, 1, 65_535, "illegal mcast-port specified")? as u16)
            }
            Flag::McastTtl => {
                self.mcast_ttl = Some(within(text, 1, 255, "illegal mcast-ttl specified")? as u8)
            }
            Flag::OnePacket
            | Flag::TunnelNoChecksum
            | Flag::TunnelChecksum
            | Flag::TunnelRemoteChecksum
            | Flag::Numeric
            | Flag::Conns
            | Flag::Timeout
            | Flag::Daemon
            | Flag::Stats
            | Flag::Rate
            | Flag::Thresholds
            | Flag::PersistentConn
            | Flag::TunnelInfo
            | Flag::NoSort
            | Flag::Sort
            | Flag::Exact
            | Flag::Complete => {}
            // A second command.
            _ => return Err(UsageError::mistake(format!("invalid option `{word}'"))),
        }
        Ok(())
    }

    fn service(
        &mut self,
        transport: Transport,
        text: &str,
        names: &dyn Names,
    ) -> Result<(), UsageError> {
        self.transport = Some(transport);
        let (vip, vport) = host_and_port(text, self.transport, names).ok_or_else(|| {
            UsageError::mistake("illegal virtual server address[:port] specified")
        })?;
        self.vip = Some(vip);
        self.vport = vport.unwrap_or(0);
        self.family = Some(if vip.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        });
        if vip.is_ipv6() {
            self.mask = Some(Mask::whole(Family::V6));
        }
        Ok(())
    }

    /// `-M`: of an IPv6 service a prefix length, else a mask, even where it looks like a length.
    fn netmask(&self, text: &str, names: &dyn Names) -> Result<Mask, UsageError> {
        match self.family {
            Some(Family::V6) => match leading_number(text) {
                prefix @ 1..=128 => Ok(Mask::V6(prefix as u8)),
                _ => Err(UsageError::mistake("illegal ipv6 netmask specified")),
            },
            _ => aton(text)
                .or_else(|| names.host(text))
                .map(Mask::V4)
                .ok_or_else(|| {
                    UsageError::mistake("illegal virtual server persistent mask specified")
                }),
        }
    }

    /// `-r`: without a port it has the service's, if that is known by now.
    fn server(&mut self, text: &str, names: &dyn Names) -> Result<(), UsageError> {
        let (rip, rport) = host_and_port(text, self.transport, names)
            .ok_or_else(|| UsageError::mistake("illegal real server address[:port] specified"))?;
        self.server = Some(SocketAddr::new(rip, rport.unwrap_or(self.vport)));
        Ok(())
    }

    /// The flags of `-b`, read last: the scheduler they belong to may stand after them.
    fn settle_flags(&mut self) -> Result<(), UsageError> {
        for name in self.flag_names.split(',').filter(|name| !name.is_empty()) {
            let known = SchedulerFlags::NAMES
                .iter()
                .find(|(known, ..)| *known == name);
            let Some((_, owner, flag)) = known else {
                return Err(UsageError::mistake(format!(
                    "invalid scheduler flag `{name}'"
                )));
            };
            if owner.is_some_and(|owner| owner != self.scheduler_name()) {
                return Err(UsageError::mistake(format!(
                    "incompatible scheduler flag `{name}'"
                )));
            }
            self.flags = self.flags.union(*flag);
        }
        Ok(())
    }

    fn scheduler_name(&self) -> &'a str {
        if self.scheduler.is_empty() {
            DEFAULT_SCHEDULER
        } else {
            self.scheduler
        }
    }

    fn into_command(
        self,
        command: Flag,
        timeouts: Option<Timeouts>,
    ) -> Result<Command, UsageError> {
        Ok(match command {
            Flag::AddService => {
                Command::AddService(self.required_service()?, self.service_settings()?)
            }
            Flag::EditService => {
                Command::EditService(self.required_service()?, self.service_settings()?)
            }
            Flag::DeleteService => Command::DeleteService(self.required_service()?),
            Flag::Flush => Command::Flush,
            Flag::AddServer => {
                Command::AddServer(self.required_service()?, self.server_settings()?)
            }
            Flag::EditServer => {
                Command::EditServer(self.required_service()?, self.server_settings()?)
            }
            Flag::DeleteServer => {
                Command::DeleteServer(self.required_service()?, self.required_server()?)
            }
            Flag::List => Command::List(self.listing()?),
            Flag::Zero => Command::Zero(self.service_id()),
            Flag::Save => Command::Save(Save {
                numeric: self.given.has(Kind::Numeric),
                complete: self.given.has(Kind::Complete),
            }),
            Flag::Restore => Command::Restore,
            Flag::Set => Command::SetTimeouts(timeouts.ok_or_else(UsageError::no_command)?),
            Flag::StartDaemon => Command::StartDaemon(self.daemon()?),
            Flag::StopDaemon => Command::StopDaemon {
                role: self.role.ok_or_else(UsageError::no_command)?,
                sync_id: self.sync_id,
            },
            Flag::AddLocalAddress => Command::AddLocalAddress {
                service: self.required_service()?,
                address: self.required_local_address()?,
                interface: self.local_interface,
            },
            Flag::DeleteLocalAddress => Command::DeleteLocalAddress {
                service: self.required_service()?,
                address: self.required_local_address()?,
            },
            Flag::ListLocalAddresses => Command::ListLocalAddresses(self.service_id()),
            _ => return Err(UsageError::no_command()),
        })
    }

    fn service_id(&self) -> Option<ServiceId> {
        if self.mark != 0 {
            let family = self.family.unwrap_or(Family::V4);
            return Some(ServiceId::Mark {
                mark: self.mark,
                family,
            });
        }
        Some(ServiceId::Address {
            transport: self.transport?,
            vip: SocketAddr::new(self.vip?, self.vport),
        })
    }

    // What is required has been checked by now; these answer as the check would.

    fn required_service(&self) -> Result<ServiceId, UsageError> {
        self.service_id().ok_or_else(UsageError::no_command)
    }

    fn required_server(&self) -> Result<SocketAddr, UsageError> {
        self.server.ok_or_else(UsageError::no_command)
    }

    fn required_local_address(&self) -> Result<IpAddr, UsageError> {
        self.local_address.ok_or_else(UsageError::no_command)
    }

    fn service_settings(&self) -> Result<ServiceSettings, UsageError> {
        let one_packet = self.given.has(Kind::OnePacket);
        if self.mark == 0 && self.vport == 0 && self.persistence_s.is_none() {
            return Err(UsageError::mistake(
                "Zero port specified for non-persistent service",
            ));
        }
        if one_packet && self.mark == 0 && self.transport != Some(Transport::Udp) {
            return Err(UsageError::mistake(
                "One-Packet Scheduling is only for UDP virtual services",
            ));
        }
        let whole = Mask::V4(Ipv4Addr::BROADCAST);
        Ok(ServiceSettings {
            scheduler: self.scheduler_name().to_owned(),
            flags: self.flags,
            persistence: self.persistence_s.map(|timeout_s| Persistence {
                timeout_s,
                mask: self.mask.unwrap_or(whole),
            }),
            engine: self.engine.clone().filter(|name| !name.is_empty()),
            one_packet,
        })
    }

    fn server_settings(&self) -> Result<ServerSettings, UsageError> {
        const TUNNEL_OPTIONS: [Kind; 5] = [
            Kind::TunnelType,
            Kind::TunnelPort,
            Kind::TunnelNoChecksum,
            Kind::TunnelChecksum,
            Kind::TunnelRemoteChecksum,
        ];
        let mut address = self.required_server()?;
        let tunnel = self.forwarding == Some(Flag::Tunnel);
        if !tunnel && Some(Family::of(&address)) != self.family {
            let text = "Different address family is allowed only for tunneling servers";
            return Err(UsageError::mistake(text));
        }
        if !tunnel && self.given.has_any(&TUNNEL_OPTIONS) {
            return Err(UsageError::mistake(
                "Tunnel options conflict with forward method",
            ));
        }
        self.given
            .check_tunnel(self.tunnel.unwrap_or(TunnelType::Ipip))?;
        let forwarding = match self.forwarding {
            Some(Flag::Tunnel) => Forwarding::Tunnel(self.tunnel()),
            Some(Flag::Nat) => Forwarding::Nat,
            Some(Flag::FullNat) => Forwarding::FullNat,
            Some(Flag::Enat) => Forwarding::Enat,
            _ => Forwarding::Direct,
        };
        if forwarding.keeps_port() && self.mark == 0 {
            address.set_port(self.vport);
        }
        Ok(ServerSettings {
            address,
            forwarding,
            weight: self.weight.unwrap_or(1),
            upper_threshold: self.upper_threshold,
            lower_threshold: self.lower_threshold,
        })
    }

    fn tunnel(&self) -> Tunnel {
        let checksum = if self.given.has(Kind::TunnelChecksum) {
            TunnelChecksum::Present
        } else if self.given.has(Kind::TunnelRemoteChecksum) {
            TunnelChecksum::Remote
        } else {
            TunnelChecksum::Absent
        };
        match self.tunnel {
            None | Some(TunnelType::Ipip) => Tunnel::Ipip,
            Some(TunnelType::Gre) => Tunnel::Gre { checksum },
            Some(TunnelType::Gue) => Tunnel::Gue {
                port: self.tunnel_port,
                checksum,
            },
        }
    }

    fn listing(&self) -> Result<Listing, UsageError> {
        let given = self.given;
        let instead_of_table = given.has_any(&[Kind::Conns, Kind::Timeout, Kind::Daemon]);
        if instead_of_table && given.has_any(&[Kind::Stats, Kind::Rate, Kind::Thresholds])
            || given.has_any(&[Kind::Timeout, Kind::Daemon]) && given.has(Kind::PersistentConn)
        {
            return Err(UsageError::mistake("options conflicts in the list command"));
        }
        if given.has(Kind::Conns) {
            return Ok(Listing::Conns {
                numeric: given.has(Kind::Numeric),
                engine: given.has(Kind::PersistentConn),
            });
        }
        // The first one wins.
        let columns = [
            (Kind::Stats, Columns::Stats),
            (Kind::Rate, Columns::Rate),
            (Kind::Thresholds, Columns::Thresholds),
            (Kind::PersistentConn, Columns::PersistentConns),
            (Kind::TunnelInfo, Columns::TunnelInfo),
        ];
        let columns = columns.iter().find(|(kind, _)| given.has(*kind));
        let format = TableFormat {
            columns: columns.map_or(Columns::Conns, |(_, columns)| *columns),
            numeric: given.has(Kind::Numeric),
            exact: given.has(Kind::Exact),
            unsorted: given.has(Kind::NoSort),
        };
        Ok(if let Some(service) = self.service_id() {
            Listing::Service(service, format)
        } else if given.has(Kind::Timeout) {
            Listing::Timeouts
        } else if given.has(Kind::Daemon) {
            Listing::Daemons
        } else {
            Listing::Table(format)
        })
    }

    fn daemon(self) -> Result<Daemon, UsageError> {
        let interface = if self.mcast_interface.is_empty() {
            "eth0"
        } else {
            self.mcast_interface
        };
        Ok(Daemon {
            role: self.role.ok_or_else(UsageError::no_command)?,
            interface: interface.to_owned(),
            sync_id: self.sync_id,
            max_length: self.sync_max_length,
            group: self.mcast_group,
            port: self.mcast_port,
            ttl: self.mcast_ttl,
        })
    }
}

fn role(name: Option<&str>, mistake: &str) -> Result<Role, UsageError> {
    name.and_then(Role::from_name)
        .ok_or_else(|| UsageError::mistake(mistake))
}

fn set_arguments<'a>(
    arguments: &mut impl Iterator<Item = &'a str>,
) -> Result<Timeouts, UsageError> {
    let (Some(tcp), Some(tcp_fin), Some(udp)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(UsageError::mistake(
            "--set option requires 3 timeout values",
        ));
    };
    Ok(Timeouts {
        tcp_s: timeout(tcp, 0)?,
        tcp_fin_s: timeout(tcp_fin, 0)?,
        udp_s: timeout(udp, 0)?,
    })
}

fn timeout(text: &str, shortest: i64) -> Result<u32, UsageError> {
    number(text, shortest..=LONGEST_TIMEOUT_S)
        .map(|seconds| seconds as u32)
        .ok_or_else(|| UsageError::mistake(format!("invalid timeout value `{text}' specified")))
}

/// 0 to what a C `int` holds.
fn natural(text: &str, mistake: &str) -> Result<u32, UsageError> {
    within(text, 0, i64::from(i32::MAX), mistake).map(|n| n as u32)
}

fn within(text: &str, least: i64, most: i64, mistake: &str) -> Result<i64, UsageError> {
    number(text, least..=most).ok_or_else(|| UsageError::mistake(mistake))
}

fn multicast(text: &str) -> Result<IpAddr, UsageError> {
    let family = if text.contains(':') { "IPv6" } else { "IPv4" };
    text.parse::<IpAddr>()
        .ok()
        .filter(IpAddr::is_multicast)
        .ok_or_else(|| UsageError::mistake(format!("invalid {family} mcast-group `{text}'")))
}

/// What an option counts as; `None` for those that may be repeated.
fn kind(flag: Flag) -> Option<Kind> {
    Some(match flag {
        Flag::Tcp | Flag::Udp | Flag::Sctp | Flag::Mark => Kind::Service,
        Flag::Scheduler => Kind::Scheduler,
        Flag::SchedulerFlags => Kind::SchedulerFlags,
        Flag::Persistent => Kind::Persistent,
        Flag::Netmask => Kind::Netmask,
        Flag::Engine => Kind::Engine,
        Flag::OnePacket => Kind::OnePacket,
        Flag::Server => Kind::Server,
        Flag::Direct | Flag::Tunnel | Flag::Nat | Flag::FullNat | Flag::Enat => Kind::Forwarding,
        Flag::Weight => Kind::Weight,
        Flag::UpperThreshold => Kind::UpperThreshold,
        Flag::LowerThreshold => Kind::LowerThreshold,
        Flag::TunnelType => Kind::TunnelType,
        Flag::TunnelPort => Kind::TunnelPort,
        Flag::TunnelNoChecksum => Kind::TunnelNoChecksum,
        Flag::TunnelChecksum => Kind::TunnelChecksum,
        Flag::TunnelRemoteChecksum => Kind::TunnelRemoteChecksum,
        Flag::LocalAddress => Kind::LocalAddress,
        Flag::LocalInterface => Kind::LocalInterface,
        Flag::Numeric => Kind::Numeric,
        Flag::Conns => Kind::Conns,
        Flag::Timeout => Kind::Timeout,
        Flag::Daemon => Kind::Daemon,
        Flag::Stats => Kind::Stats,
        Flag::Rate => Kind::Rate,
        Flag::Thresholds => Kind::Thresholds,
        Flag::PersistentConn => Kind::PersistentConn,
        Flag::TunnelInfo => Kind::TunnelInfo,
        Flag::NoSort => Kind::NoSort,
        Flag::Exact => Kind::Exact,
        Flag::Complete => Kind::Complete,
        Flag::SyncId => Kind::SyncId,
        Flag::SyncMaxLength => Kind::SyncMaxLength,
        Flag::McastInterface => Kind::McastInterface,
        Flag::McastGroup => Kind::McastGroup,
        Flag::McastPort => Kind::McastPort,
        Flag::McastTtl => Kind::McastTtl,
        _ => return None,
    })
}
