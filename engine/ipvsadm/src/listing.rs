//! Rows into ipvsadm's columns, byte for byte, trailing blanks and all.

use std::io::{self, Write};
use std::net::SocketAddr;

use crate::address::shown;
use crate::order::{arrange_services, sort_servers, sort_services};
use crate::server::{Forwarding, Tunnel, checksum_short};
use crate::{
    ConnRow, Daemon, Names, ServerRow, ServiceId, ServiceRow, Timeouts, Traffic, Transport,
};

/// Room for a server's name. IPv4 names are cut to it, IPv6 names push the columns aside.
const SERVER_NAME: usize = 28;

/// Room for a service's name; the same.
const SERVICE_NAME: usize = 33;

/// What to say about each server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Columns {
    /// Forwarding, weight and conns.
    #[default]
    Conns,
    /// `--stats`
    Stats,
    /// `--rate`
    Rate,
    /// `--thresholds`
    Thresholds,
    /// `--persistent-conn`
    PersistentConns,
    /// `--tun-info`
    TunnelInfo,
}

/// How to print a table of services.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableFormat {
    /// Which columns.
    pub columns: Columns,
    /// `-n`: ports as numbers.
    pub numeric: bool,
    /// `--exact`: large numbers in full.
    pub exact: bool,
    /// `--nosort`: as the kernel would have them.
    pub unsorted: bool,
}

/// The line before a table of all services. The version is that of the IPVS whose behaviour this is: tools compare it.
pub fn version_line(table_size: u64, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "IP Virtual Server version 1.2.1 (size={table_size})")
}

/// A table of services, the one added last first, with its title.
pub fn table(
    mut services: Vec<ServiceRow>,
    format: &TableFormat,
    names: &dyn Names,
    out: &mut dyn Write,
) -> io::Result<()> {
    arrange_services(&mut services);
    if !format.unsorted {
        sort_services(&mut services);
    }
    title(format.columns, out)?;
    for service in services {
        self::service(service, format, names, out)?;
    }
    Ok(())
}

/// The title of a table of conns.
pub fn conns_title(engine: bool, out: &mut dyn Write) -> io::Result<()> {
    let title = "pro expire state       source             virtual            destination";
    writeln!(out, "IPVS connection entries")?;
    if engine {
        writeln!(out, "{title}        pe name          pe_data")
    } else {
        writeln!(out, "{title}")
    }
}

/// A conn.
pub fn conn(
    row: &ConnRow<'_>,
    numeric: bool,
    engine: bool,
    names: &dyn Names,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = |address| named(address, row.transport, numeric, names);
    write!(
        out,
        "{:<3} {:<6} {:<11} {:<18} {:<18} ",
        row.transport.map_or("IP", Transport::name),
        format!("{:02}:{:02}", row.expires_s / 60, row.expires_s % 60),
        row.state,
        name(&row.client),
        name(&row.virtual_service),
    )?;
    let server = name(&row.server);
    match row.engine {
        Some((engine_name, data)) if engine => {
            writeln!(out, "{server:<16} {engine_name:<18} {data}")
        }
        _ => writeln!(out, "{server}"),
    }
}

/// The time-outs.
pub fn timeouts(timeouts: &Timeouts, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "Timeout (tcp tcpfin udp): {} {} {}",
        timeouts.tcp_s, timeouts.tcp_fin_s, timeouts.udp_s
    )
}

/// A synchronisation daemon.
pub fn daemon(daemon: &Daemon, out: &mut dyn Write) -> io::Result<()> {
    let role = daemon.role.name();
    write!(
        out,
        "{role} sync daemon (mcast={}, syncid={}",
        daemon.interface, daemon.sync_id
    )?;
    if let Some(length) = daemon.max_length {
        write!(out, ", maxlen={length}")?;
    }
    if let Some(group) = daemon.group {
        write!(out, ", group={group}")?;
    }
    if let Some(port) = daemon.port {
        write!(out, ", port={port}")?;
    }
    if let Some(ttl) = daemon.ttl {
        write!(out, ", ttl={ttl}")?;
    }
    writeln!(out, ")")
}

/// The local addresses of services, the one added last first, as DPVS lists them.
pub fn local_addresses(mut services: Vec<ServiceRow>, out: &mut dyn Write) -> io::Result<()> {
    arrange_services(&mut services);
    sort_services(&mut services);
    let title = ["VIP:VPORT", "TOTAL", "SNAT_IP", "CONFLICTS", "CONNS"];
    writeln!(
        out,
        "{:<20} {:<8} {:<20} {:<10} {:<10}",
        title[0], title[1], title[2], title[3], title[4]
    )?;
    for service in services {
        let name = match service.id {
            ServiceId::Address { vip, .. } => shown(&vip, &vip.port().to_string()),
            ServiceId::Mark { mark, .. } => format!("FWM {mark}"),
        };
        writeln!(out, "{name:<20} {:<8} ", service.local_addresses.len())?;
        for row in &service.local_addresses {
            let address = row.address.to_string();
            let (conflicts, conns) = (row.conflicts, row.conns);
            writeln!(
                out,
                "{:<20} {:<8} {address:<20} {conflicts:<10} {conns:<10}",
                "", ""
            )?;
        }
    }
    Ok(())
}

/// `10.0.0.1:http`, or with the port as a number.
pub(crate) fn named(
    address: &SocketAddr,
    transport: Option<Transport>,
    numeric: bool,
    names: &dyn Names,
) -> String {
    let port = address.port();
    let name = transport
        .filter(|_| !numeric)
        .and_then(|t| names.service(port, t));
    match name {
        Some(name) => shown(address, name),
        None => shown(address, &port.to_string()),
    }
}

fn title(columns: Columns, out: &mut dyn Write) -> io::Result<()> {
    const SERVICE: &str = "Prot LocalAddress:Port";
    const SERVER: &str = "  -> RemoteAddress:Port";
    match columns {
        Columns::Stats => writeln!(
            out,
            "{SERVICE:<33} {:>8} {:>8} {:>8} {:>8} {:>8}\n{SERVER}",
            "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"
        ),
        Columns::Rate => writeln!(
            out,
            "{SERVICE:<33} {:>8} {:>8} {:>8} {:>8} {:>8}\n{SERVER}",
            "CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"
        ),
        Columns::Thresholds => writeln!(
            out,
            "{SERVICE:<33} {:<10} {:<10} {:<10} {:<10}\n{SERVER}",
            "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
        ),
        Columns::PersistentConns => writeln!(
            out,
            "{SERVICE:<33} {:<9} {:<11} {:<10} {:<10}\n{SERVER}",
            "Weight", "PersistConn", "ActiveConn", "InActConn"
        ),
        Columns::TunnelInfo => writeln!(
            out,
            "{SERVICE} Scheduler Flags\n{SERVER}           Forward TunnelInfo    Weight ActiveConn InActConn"
        ),
        Columns::Conns => writeln!(
            out,
            "{SERVICE} Scheduler Flags\n{SERVER}           Forward Weight ActiveConn InActConn"
        ),
    }
}

fn service(
    mut row: ServiceRow,
    format: &TableFormat,
    names: &dyn Names,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = service_name(&row.id, format.numeric, names);
    match format.columns {
        Columns::Stats => {
            traffic_line(&format!("{name:<SERVICE_NAME$}"), &row.totals, format, out)?
        }
        Columns::Rate => traffic_line(&format!("{name:<SERVICE_NAME$}"), &row.rates, format, out)?,
        _ => writeln!(out, "{name} {}", settings(&row))?,
    }
    if !format.unsorted {
        sort_servers(&mut row.servers);
    }
    for server in &row.servers {
        self::server(server, row.id.transport(), format, names, out)?;
    }
    Ok(())
}

fn service_name(id: &ServiceId, numeric: bool, names: &dyn Names) -> String {
    match id {
        ServiceId::Address { transport, vip } => {
            let address = named(vip, Some(*transport), numeric, names);
            let mut name = format!("{:<4} {address}", transport.name());
            if vip.is_ipv4() {
                name.truncate(name.floor_char_boundary(SERVICE_NAME));
            }
            name
        }
        // The mark is printed as C's `int`.
        ServiceId::Mark { mark, .. } if id.family() == crate::Family::V6 => {
            format!("FWM  {} IPv6", *mark as i32)
        }
        ServiceId::Mark { mark, .. } => format!("FWM  {}", *mark as i32),
    }
}

/// `wrr (flag-1) persistent 300 mask 255.255.255.0 pe sip ops`
fn settings(row: &ServiceRow) -> String {
    let settings = &row.settings;
    let mut text = settings.scheduler.clone();
    if !settings.flags.is_empty() {
        text += &format!(" ({})", settings.flags.shown(&settings.scheduler));
    }
    if let Some(persistence) = &settings.persistence {
        text += &format!(" persistent {}", persistence.timeout_s);
        if let Some(mask) = persistence.mask.shown() {
            text += &format!(" mask {mask}");
        }
        if let Some(engine) = &settings.engine {
            text += &format!(" pe {engine}");
        }
    }
    if settings.one_packet {
        text += " ops";
    }
    text
}

fn server(
    row: &ServerRow,
    transport: Option<Transport>,
    format: &TableFormat,
    names: &dyn Names,
    out: &mut dyn Write,
) -> io::Result<()> {
    let ServerRow {
        settings,
        active,
        inactive,
        ..
    } = row;
    let mut name = named(&settings.address, transport, format.numeric, names);
    if settings.address.is_ipv4() {
        name.truncate(name.floor_char_boundary(SERVER_NAME));
    }
    let name = format!("  -> {name:<SERVER_NAME$}");
    let forwarding = settings.forwarding.name();
    let weight = settings.weight;
    match format.columns {
        Columns::Stats => traffic_line(&name, &row.totals, format, out),
        Columns::Rate => {
            let Traffic {
                conns,
                in_packets,
                out_packets,
                in_bytes,
                out_bytes,
            } = row.rates;
            // The first three are never shortened here.
            write!(out, "{name} {conns:>8} {in_packets:>8} {out_packets:>8}")?;
            writeln!(
                out,
                "{}{}",
                large_number(in_bytes, format),
                large_number(out_bytes, format)
            )
        }
        Columns::Thresholds => writeln!(
            out,
            "{name} {:<10} {:<10} {active:<10} {inactive:<10}",
            settings.upper_threshold, settings.lower_threshold
        ),
        Columns::PersistentConns => writeln!(
            out,
            "{name} {weight:<9} {:<11} {active:<10} {inactive:<10}",
            row.persistent
        ),
        Columns::TunnelInfo => writeln!(
            out,
            "{name} {forwarding:<7} {:<13} {weight:<6} {active:<10} {inactive:<10}",
            tunnel_info(settings.forwarding)
        ),
        Columns::Conns => writeln!(
            out,
            "{name} {forwarding:<7} {weight:<6} {active:<10} {inactive:<10}"
        ),
    }
}

fn tunnel_info(forwarding: Forwarding) -> String {
    match forwarding {
        Forwarding::Tunnel(Tunnel::Ipip) => "ipip".to_owned(),
        Forwarding::Tunnel(Tunnel::Gue { port, checksum }) => {
            format!("gue:{port}:{}", checksum_short(checksum))
        }
        Forwarding::Tunnel(Tunnel::Gre { checksum }) => format!("gre:{}", checksum_short(checksum)),
        _ => "n/a".to_owned(),
    }
}

fn traffic_line(
    name: &str,
    traffic: &Traffic,
    format: &TableFormat,
    out: &mut dyn Write,
) -> io::Result<()> {
    let numbers = [
        traffic.conns,
        traffic.in_packets,
        traffic.out_packets,
        traffic.in_bytes,
        traffic.out_bytes,
    ];
    write!(out, "{name}")?;
    for number in numbers {
        write!(out, "{}", large_number(number, format))?;
    }
    writeln!(out)
}

/// A number in nine columns, in thousands, millions and so on from 100 million up.
fn large_number(number: u64, format: &TableFormat) -> String {
    const THOUSAND: u64 = 1_000;
    if format.exact {
        // At least one blank before it, however long it is.
        return format!(" {number:>8}");
    }
    let (unit, letter) = match number {
        0..100_000_000 => return format!("{number:>9}"),
        100_000_000..1_000_000_000 => (THOUSAND, 'K'),
        1_000_000_000..100_000_000_000 => (THOUSAND.pow(2), 'M'),
        100_000_000_000..100_000_000_000_000 => (THOUSAND.pow(3), 'G'),
        _ => (THOUSAND.pow(4), 'T'),
    };
    format!("{:>8}{letter}", number / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoNames, SchedulerFlags, ServerSettings, ServiceSettings};

    #[test]
    fn large_numbers_are_shortened_unless_exact() {
        let short = TableFormat::default();
        let exact = TableFormat {
            exact: true,
            ..short
        };
        for (number, text) in [
            (0, "        0"),
            (99_999_999, " 99999999"),
            (100_000_000, "  100000K"),
            (999_999_999, "  999999K"),
            (1_000_000_000, "    1000M"),
            (99_999_999_999, "   99999M"),
            (100_000_000_000, "     100G"),
            (99_999_999_999_999, "   99999G"),
            (100_000_000_000_000, "     100T"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(large_number(number, &short), text);
        }
        assert_eq!(large_number(7, &exact), "        7");
        assert_eq!(large_number(123_456_789_012, &exact), " 123456789012");
    }

    #[test]
    fn traffic_is_listed_in_totals_and_per_second() {
        let traffic = |conns, in_packets, out_packets, in_bytes, out_bytes| Traffic {
            conns,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
        };
        let server = ServerRow {
            settings: ServerSettings {
                address: "10.20.0.11:8080".parse().expect("valid"),
                forwarding: Forwarding::Nat,
                weight: 1,
                upper_threshold: 0,
                lower_threshold: 0,
            },
            active: 1,
            inactive: 12_345_678,
            persistent: 2,
            totals: traffic(1, 1, 0, 40, 0),
            rates: traffic(375, 123_456_789, 0, 100_000_000, 0),
        };
        let service = ServiceRow {
            id: ServiceId::Address {
                transport: Transport::Tcp,
                vip: "203.0.113.5:80".parse().expect("valid"),
            },
            settings: ServiceSettings {
                scheduler: "rr".to_owned(),
                flags: SchedulerFlags::default(),
                persistence: None,
                engine: None,
                one_packet: false,
            },
            totals: traffic(3, 5, 1, 400, 40),
            rates: traffic(375, 123_456_789, 0, 100_000_000, 0),
            servers: vec![server],
            local_addresses: Vec::new(),
        };
        let listed = |columns| {
            let format = TableFormat {
                columns,
                numeric: true,
                ..TableFormat::default()
            };
            let mut out = Vec::new();
            table(vec![service.clone()], &format, &NoNames, &mut out).expect("memory");
            let text = String::from_utf8(out).expect("text");
            text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            listed(Columns::Stats),
            [
                "TCP  203.0.113.5:80                      3        5        1      400       40",
                "  -> 10.20.0.11:8080                     1        1        0       40        0",
            ]
        );
        assert_eq!(
            listed(Columns::Rate),
            [
                "TCP  203.0.113.5:80                    375  123456K        0  100000K        0",
                "  -> 10.20.0.11:8080                   375 123456789        0  100000K        0",
            ]
        );
        assert_eq!(
            listed(Columns::PersistentConns)[1],
            "  -> 10.20.0.11:8080              1         2           1          12345678  "
        );
    }
}
