//! The engine's services and servers as ipvsadm lists them.

use lb::{Addr, Dest, Engine};
use lb_ipvsadm::{
    Family, Forwarding, LocalAddressRow, Mask, Persistence, ServerRow, ServerSettings, ServiceId,
    ServiceRow, ServiceSettings, Transport,
};

use super::whole_seconds;

pub fn service_row(
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
        conflicts: used.exhausted,
        conns: used.leased,
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
