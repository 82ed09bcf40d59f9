//! A running engine as ipvsadm sees the kernel.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb::{
    Addr, Asked, ConnRecord, ConnState, Dest, Endpoint, Engine, Port, Template, Thresholds, Time,
    Worker,
};
use lb_ipvsadm::{
    ConnRow, Daemon, EntryState, Family, Forwarding, Ipvs, LocalAddressRow, Mask, Next,
    Persistence, Refusal, Role, ServerRow, ServerSettings, ServiceId, ServiceRow, ServiceSettings,
    Timeouts, Transport, Tunnel,
};

use crate::sync_daemons::SyncDaemons;

/// The one that Linux has.
const PERSISTENCE_ENGINE: &str = "sip";

/// The port that the kernel gives to a template that must not be found any more (`ip_vs_check_template`).
const FORGOTTEN: u16 = 0xffff;

/// An engine and the conns of its workers, for the time of a command.
pub struct Administration<'a> {
    engine: &'a Engine,
    conns: &'a dyn Conns,
    sync_daemons: &'a SyncDaemons,
    /// Whether something was edited that workers do not see yet: a restore is published once, not for each of its rules.
    unpublished: bool,
}

/// The conns and templates of all workers.
pub trait Conns {
    /// Hands all to `each`, until that says stop.
    fn each(&self, each: &mut dyn FnMut(&ConnRow<'_>) -> Next);
    /// For how many conns there is room.
    fn capacity(&self) -> u64;
}

/// The conns of one worker, which stands still.
pub struct ConnsOf<'a, P> {
    pub worker: &'a Worker<P>,
    pub now: Time,
}

impl<P: Port> Conns for ConnsOf<'_, P> {
    fn each(&self, each: &mut dyn FnMut(&ConnRow<'_>) -> Next) {
        let table = self.worker.conns();
        let templates = table.templates().iter();
        let templates = templates.map(|template| template_row(template, self.now));
        let conns = table
            .iter(self.now)
            .map(|view| conn_row(&ConnRecord::of(&view, 0)));
        for row in templates.chain(conns) {
            if each(&row) == Next::Stop {
                return;
            }
        }
    }

    fn capacity(&self) -> u64 {
        self.worker.conns().capacity() as u64
    }
}

/// A template as ipvsadm lists it.
pub fn template_row(template: &Template, now: Time) -> ConnRow<'static> {
    let (transport, virtual_service) = match template.key.asked {
        Asked::Service(key) => (Some(key.protocol.into()), key.vip.into()),
        Asked::Mark(mark) => (None, SocketAddr::new(IpAddr::from(mark.to_be_bytes()), 0)),
    };
    let rip = template.dest.rip();
    let (asked_port, port) = match (template.forgotten, virtual_service.port()) {
        (true, _) => (FORGOTTEN, FORGOTTEN),
        (false, 0) => (0, 0),
        (false, asked) => (asked, rip.port),
    };
    ConnRow {
        transport,
        expires_s: whole_seconds(template.expires_in(now)),
        state: EntryState::Template {
            assured: template.assured,
        },
        client: Endpoint::new(template.key.client, 0).into(),
        virtual_service: SocketAddr::new(virtual_service.ip(), asked_port),
        server: Endpoint::new(rip.addr, port).into(),
        engine: None,
    }
}

/// A conn as ipvsadm lists it.
pub fn conn_row(record: &ConnRecord) -> ConnRow<'static> {
    ConnRow {
        transport: Some(record.flow.protocol.into()),
        expires_s: record.expires_s,
        state: EntryState::Conn(record.state),
        client: record.flow.source.into(),
        virtual_service: record.flow.destination.into(),
        server: record.rip.into(),
        engine: None,
    }
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

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// A service's name, in the engine's words.
pub fn service_id(id: &ServiceId) -> lb::ServiceId {
    match *id {
        ServiceId::Mark { mark, family } => lb::ServiceId::Mark(lb::Mark {
            mark,
            v6: family == Family::V6,
        }),
        ServiceId::Address { transport, vip } => lb::ServiceKey {
            vip: vip.into(),
            protocol: transport.into(),
        }
        .into(),
    }
}

fn service_spec(id: &ServiceId, settings: &ServiceSettings) -> Result<lb::ServiceSpec, Refusal> {
    let engine = settings.engine.clone();
    if engine
        .as_ref()
        .is_some_and(|engine| engine != PERSISTENCE_ENGINE)
    {
        return Err(Refusal::NoScheduler);
    }
    Ok(lb::ServiceSpec {
        id: service_id(id),
        scheduler: settings.scheduler.clone(),
        scheduler_flags: settings.flags,
        persistence: settings.persistence.map(|persistence| lb::Persistence {
            timeout: Duration::from_secs(persistence.timeout_s.into()),
            netmask: match persistence.mask {
                Mask::V4(mask) => mask.into(),
                Mask::V6(len) => Addr::v6([0xff; 16]).masked(len),
            },
        }),
        persistence_engine: engine,
        one_packet: settings.one_packet,
        full_nat: None,
    })
}

fn server_spec(server: &ServerSettings) -> Result<lb::ServerSpec, Refusal> {
    let thresholds = Thresholds {
        upper: server.upper_threshold,
        lower: server.lower_threshold,
    };
    if thresholds.lower > thresholds.upper {
        return Err(Refusal::OutOfRange);
    }
    Ok(lb::ServerSpec {
        rip: server.address.into(),
        mode: match server.forwarding {
            Forwarding::Direct => "dr",
            Forwarding::Nat => "nat",
            Forwarding::Tunnel(_) => "tun",
            Forwarding::FullNat => "fnat",
            Forwarding::Enat => "enat",
        }
        .to_owned(),
        weight: server.weight,
        thresholds,
        tunnel: match server.forwarding {
            Forwarding::Tunnel(tunnel) => tunnel,
            _ => Tunnel::default(),
        },
    })
}

fn is_unicast(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !(addr.is_multicast() || addr.is_broadcast() || addr.is_unspecified()),
        IpAddr::V6(addr) => {
            !(addr.is_multicast() || addr.is_unspecified() || addr.to_ipv4_mapped().is_some())
        }
    }
}

fn service_row(
    engine: &Engine,
    table: &lb::ServiceTable,
    service: &lb::VirtualService,
) -> ServiceRow {
    let settings = service.settings();
    let counted = table.traffic_of_service(service.id()).unwrap_or_default();
    let family = match service.id() {
        lb::ServiceId::Mark(lb::Mark { v6: true, .. }) => Family::V6,
        lb::ServiceId::Mark(_) => Family::V4,
        lb::ServiceId::Address(key) => Family::of(&key.vip.into()),
    };
    ServiceRow {
        id: match service.id() {
            lb::ServiceId::Mark(mark) => ServiceId::Mark {
                mark: mark.mark,
                family,
            },
            lb::ServiceId::Address(key) => ServiceId::Address {
                transport: Transport::from(key.protocol),
                vip: key.vip.into(),
            },
        },
        settings: ServiceSettings {
            scheduler: settings.scheduler_name.clone(),
            flags: settings.scheduler_flags,
            persistence: settings.persistence.map(|persistence| Persistence {
                timeout_s: whole_seconds(persistence.timeout),
                mask: match (family, persistence.netmask.as_v4()) {
                    (Family::V4, Some(mask)) => Mask::V4(mask.into()),
                    _ => Mask::V6(prefix_len(persistence.netmask)),
                },
            }),
            engine: settings.persistence_engine.clone(),
            one_packet: settings.one_packet,
        },
        totals: counted.totals,
        rates: counted.rates,
        servers: service
            .dests()
            .iter()
            .map(|dest| server_row(table, service.id(), dest))
            .collect(),
        local_addresses: settings
            .local_addresses
            .iter()
            .map(|lip| local_address_row(engine, table, service.id(), *lip))
            .chain(vip_of_enat(engine, table, service))
            .collect(),
    }
}

fn local_address_row(
    engine: &Engine,
    table: &lb::ServiceTable,
    id: lb::ServiceId,
    lip: Addr,
) -> LocalAddressRow {
    let used = engine.local_use(lip);
    LocalAddressRow {
        address: lip.into(),
        interface: table.place_of(id, lip).map(str::to_owned),
        of_mode: false,
        conflicts: used.exhausted(),
        conns: used.leased(),
    }
}

/// In ENAT servers are sent to from the VIP.
fn vip_of_enat(
    engine: &Engine,
    table: &lb::ServiceTable,
    service: &lb::VirtualService,
) -> Option<LocalAddressRow> {
    let mut dests = service.dests().iter();
    let vip = service.key()?.vip.addr;
    dests.find(|dest| table.mode_name(dest) == "enat")?;
    Some(LocalAddressRow {
        of_mode: true,
        ..local_address_row(engine, table, service.id(), vip)
    })
}

fn prefix_len(netmask: Addr) -> u8 {
    u128::from_be_bytes(*netmask.octets()).leading_ones() as u8
}

fn server_row(table: &lb::ServiceTable, service: lb::ServiceId, dest: &Dest) -> ServerRow {
    let counted = table
        .traffic_of_server(service, dest.rip())
        .unwrap_or_default();
    let thresholds = dest.thresholds();
    ServerRow {
        settings: ServerSettings {
            address: dest.rip().into(),
            forwarding: match table.mode_name(dest) {
                "nat" => Forwarding::Nat,
                "tun" => Forwarding::Tunnel(dest.tunnel()),
                "fnat" => Forwarding::FullNat,
                "enat" => Forwarding::Enat,
                _ => Forwarding::Direct,
            },
            weight: dest.weight(),
            upper_threshold: thresholds.upper,
            lower_threshold: thresholds.lower,
        },
        active: dest.active(),
        inactive: dest.inactive(),
        persistent: dest.persistent(),
        totals: counted.totals,
        rates: counted.rates,
    }
}
