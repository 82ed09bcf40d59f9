//! A running engine as ipvsadm sees the kernel.

mod conns;
mod rows;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb::{ConnState, Engine};
use lb_ipvsadm::{
    ConnRow, Daemon, Ipvs, Next, Refusal, Role, ServerSettings, ServiceId, ServiceRow,
    ServiceSettings, Timeouts, Transport,
};

use crate::sync_daemons::SyncDaemons;
pub use conns::{Conns, ConnsOf, conn_row, template_row};
use rows::service_row;
pub use words::service_id;
use words::{server_spec, service_spec};

/// An engine and the conns of its workers, for the time of a command.
pub struct Administration<'a> {
    engine: &'a Engine,
    conns: &'a dyn Conns,
    sync_daemons: &'a SyncDaemons,
    /// Whether something was edited that workers do not see yet: a restore is published once, not for each of its rules.
    unpublished: bool,
}

impl<'a> Administration<'a> {
    pub fn new(
        engine: &'a Engine,
        conns: &'a dyn Conns,
        sync_daemons: &'a SyncDaemons,
    ) -> Administration<'a> {
        Administration {
            engine,
            conns,
            sync_daemons,
            unpublished: false,
        }
    }
}

impl Drop for Administration<'_> {
    fn drop(&mut self) {
        if self.unpublished {
            self.engine.publish();
        }
    }
}

impl Administration<'_> {
    /// The name of a service that exists: that is asked before anything about its servers.
    fn known(&self, id: &ServiceId) -> Result<lb::ServiceId, Refusal> {
        let id = service_id(id);
        let known = self.engine.look(|table| table.service(id).map(|_| id));
        known.map_err(refused)
    }

    fn edit(
        &mut self,
        edit: impl FnOnce(&mut lb::ServiceTable) -> Result<(), lb::Refusal>,
    ) -> Result<(), Refusal> {
        self.unpublished = true;
        self.engine.amend(edit).map_err(refused)
    }
}

fn refused(refusal: lb::Refusal) -> Refusal {
    match refusal {
        lb::Refusal::ServiceExists => Refusal::ServiceExists,
        lb::Refusal::NoSuchService => Refusal::NoSuchService,
        lb::Refusal::ServerExists => Refusal::ServerExists,
        lb::Refusal::NoSuchServer => Refusal::NoSuchServer,
        lb::Refusal::NoSuchScheduler => Refusal::NoScheduler,
        lb::Refusal::OtherFamily => Refusal::Invalid,
        lb::Refusal::LocalAddressExists => Refusal::LocalAddressExists,
        lb::Refusal::NoSuchLocalAddress => Refusal::NoSuchLocalAddress,
        lb::Refusal::NoSuchMode => {
            Refusal::Other("this version does not have the forwarding method".to_owned())
        }
    }
}

impl Ipvs for Administration<'_> {
    fn add_service(&mut self, id: &ServiceId, settings: &ServiceSettings) -> Result<(), Refusal> {
        let spec = service_spec(id, settings)?;
        warn_of_what_is_only_kept(id, settings);
        self.edit(|table| table.add_service(&spec))
    }

    fn edit_service(&mut self, id: &ServiceId, settings: &ServiceSettings) -> Result<(), Refusal> {
        let spec = service_spec(id, settings)?;
        self.edit(|table| table.edit_service(&spec))
    }

    fn delete_service(&mut self, id: &ServiceId) -> Result<(), Refusal> {
        let id = service_id(id);
        self.edit(|table| table.delete_service(id))
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        self.edit(|table| {
            table.clear();
            Ok(())
        })
    }

    fn add_server(&mut self, id: &ServiceId, server: &ServerSettings) -> Result<(), Refusal> {
        let id = self.known(id)?;
        let spec = server_spec(server)?;
        if !is_unicast(server.address.ip()) {
            return Err(Refusal::Invalid);
        }
        self.edit(|table| table.add_server(id, &spec))
    }

    fn edit_server(&mut self, id: &ServiceId, server: &ServerSettings) -> Result<(), Refusal> {
        let id = self.known(id)?;
        let spec = server_spec(server)?;
        self.edit(|table| table.edit_server(id, &spec))
    }

    fn delete_server(&mut self, id: &ServiceId, server: SocketAddr) -> Result<(), Refusal> {
        let id = service_id(id);
        self.edit(|table| table.delete_server(id, server.into()))
    }

    fn add_local_address(
        &mut self,
        id: &ServiceId,
        address: IpAddr,
        interface: Option<&str>,
    ) -> Result<(), Refusal> {
        let id = service_id(id);
        if !is_unicast(address) {
            return Err(Refusal::Invalid);
        }
        let Some(interface) = interface else {
            return self.edit(|table| table.add_local_address(id, address.into()));
        };
        self.unpublished = true;
        let added = (self.engine).add_placed_address(id, address.into(), interface);
        added.map_err(|error| match error {
            lb::PlaceError::Service(error) => refused(error),
            lb::PlaceError::Interface(error) => {
                tracing::warn!("{address} is not put on {interface}: {error}");
                Refusal::NoDevice
            }
        })
    }

    fn delete_local_address(&mut self, id: &ServiceId, address: IpAddr) -> Result<(), Refusal> {
        let id = service_id(id);
        self.edit(|table| table.delete_local_address(id, address.into()))
    }

    fn zero(&mut self, id: Option<&ServiceId>) -> Result<(), Refusal> {
        let id = id.map(service_id);
        self.edit(|table| table.zero(id))
    }

    fn services(&mut self) -> Result<Vec<ServiceRow>, Refusal> {
        Ok(self.engine.look(|table| {
            let rows = table.services().iter().rev();
            rows.map(|service| service_row(self.engine, table, service))
                .collect()
        }))
    }

    fn service(&mut self, id: &ServiceId) -> Result<ServiceRow, Refusal> {
        let id = service_id(id);
        self.engine.look(|table| {
            let service = table.service(id).map_err(refused)?;
            Ok(service_row(self.engine, table, service))
        })
    }

    fn conns(&mut self, each: &mut dyn FnMut(&ConnRow<'_>) -> Next) -> Result<(), Refusal> {
        self.conns.each(each);
        Ok(())
    }

    fn table_size(&mut self) -> Result<u64, Refusal> {
        Ok(self.conns.capacity())
    }

    fn timeouts(&mut self) -> Result<Timeouts, Refusal> {
        let timeouts = self.engine.look(|table| table.timeouts().clone());
        Ok(Timeouts {
            tcp_s: whole_seconds(timeouts.of(ConnState::Established)),
            tcp_fin_s: whole_seconds(timeouts.of(ConnState::FinWait)),
            udp_s: whole_seconds(timeouts.of(ConnState::Udp)),
        })
    }

    fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), Refusal> {
        self.edit(|table| {
            let set = [
                (ConnState::Established, timeouts.tcp_s),
                (ConnState::FinWait, timeouts.tcp_fin_s),
                (ConnState::Udp, timeouts.udp_s),
            ];
            let new = set.into_iter().filter(|(_, seconds)| *seconds > 0).fold(
                table.timeouts().clone(),
                |timeouts, (state, seconds)| {
                    timeouts.with(state, Duration::from_secs(seconds.into()))
                },
            );
            table.set_timeouts(new);
            Ok(())
        })
    }

    fn start_daemon(&mut self, daemon: &Daemon) -> Result<(), Refusal> {
        self.sync_daemons.start(daemon)
    }

    fn stop_daemon(&mut self, role: Role, _: u8) -> Result<(), Refusal> {
        self.sync_daemons.stop(role)
    }

    fn daemons(&mut self) -> Result<Vec<Daemon>, Refusal> {
        Ok(self.sync_daemons.list())
    }
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn warn_of_what_is_only_kept(id: &ServiceId, settings: &ServiceSettings) {
    if let ServiceId::Address {
        transport: Transport::Sctp,
        vip,
    } = id
    {
        tracing::warn!("sctp {vip}: kept and listed, but this version leaves SCTP to the kernel");
    }
    if let Some(engine) = &settings.engine {
        tracing::warn!(
            "persistence engine {engine}: kept and listed, but clients are told apart by their addresses"
        );
    }
}

fn is_unicast(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !(addr.is_multicast() || addr.is_broadcast() || addr.is_unspecified()),
        IpAddr::V6(addr) => {
            !(addr.is_multicast() || addr.is_unspecified() || addr.to_ipv4_mapped().is_some())
        }
    }
}
