//! A command line as far as it has been read.

use std::net::{IpAddr, SocketAddr};

use crate::address::{aton, host_and_port, leading_number, number};
use crate::kind::Kind;
use crate::legal::{Given, TunnelType};
use crate::option::Flag;
use crate::service::{Family, Mask, Transport};
use crate::value::{multicast, natural, timeout, within};
use crate::{Names, Role, SchedulerFlags, UsageError};

/// `-p` without a time-out; the manual says 300, the program does 360.
const DEFAULT_PERSISTENCE_S: u32 = 360;

/// The kernel has room for 15 letters, and ipvsadm cuts a longer name.
const SCHEDULER_NAME: usize = 15;

const DEFAULT_SCHEDULER: &str = "wlc";

/// The options so far. Their order matters: a value is read with what stands before it.
#[derive(Default)]
pub(crate) struct Draft<'a> {
    pub(crate) given: Given,
    pub(crate) transport: Option<Transport>,
    pub(crate) vip: Option<IpAddr>,
    pub(crate) vport: u16,
    pub(crate) mark: u32,
    pub(crate) family: Option<Family>,
    pub(crate) mask: Option<Mask>,
    pub(crate) scheduler: &'a str,
    pub(crate) flag_names: &'a str,
    pub(crate) flags: SchedulerFlags,
    pub(crate) persistence_s: Option<u32>,
    pub(crate) engine: Option<String>,
    pub(crate) server: Option<SocketAddr>,
    pub(crate) forwarding: Option<Flag>,
    pub(crate) weight: Option<u32>,
    pub(crate) upper_threshold: u32,
    pub(crate) lower_threshold: u32,
    pub(crate) tunnel: Option<TunnelType>,
    pub(crate) tunnel_port: u16,
    pub(crate) role: Option<Role>,
    pub(crate) mcast_interface: &'a str,
    pub(crate) sync_id: u8,
    pub(crate) sync_max_length: Option<u16>,
    pub(crate) mcast_group: Option<IpAddr>,
    pub(crate) mcast_port: Option<u16>,
    pub(crate) mcast_ttl: Option<u8>,
    pub(crate) local_address: Option<IpAddr>,
    pub(crate) local_interface: Option<String>,
}

impl<'a> Draft<'a> {
    /// Takes one option; `word` is how it was typed.
    pub(crate) fn option(
        &mut self,
        flag: Flag,
        value: Option<&'a str>,
        word: &str,
        names: &dyn Names,
    ) -> Result<(), UsageError> {
        if let Some(kind) = Kind::of(flag) {
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
    pub(crate) fn settle_flags(&mut self) -> Result<(), UsageError> {
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

    pub(crate) fn scheduler_name(&self) -> &'a str {
        if self.scheduler.is_empty() {
            DEFAULT_SCHEDULER
        } else {
            self.scheduler
        }
    }
}
