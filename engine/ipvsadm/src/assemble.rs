//! A command line that was read to its end into a [`Command`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::command::{Command, Listing, Save, Timeouts};
use crate::draft::Draft;
use crate::kind::Kind;
use crate::legal::TunnelType;
use crate::listing::{Columns, TableFormat};
use crate::option::Flag;
use crate::server::{Forwarding, ServerSettings, Tunnel, TunnelChecksum};
use crate::service::{Family, Mask, Persistence, ServiceId, ServiceSettings, Transport};
use crate::{Daemon, UsageError};

impl Draft<'_> {
    /// Makes the checks that ipvsadm makes when all options are read.
    pub(crate) fn into_command(
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
