//! Rows into the rules that `-R` reads.

use std::io::{self, Write};

use crate::listing::named;
use crate::order::{arrange_services, sort_servers, sort_services};
use crate::server::{Forwarding, Tunnel, checksum_switch};
use crate::{Names, Save, SchedulerFlags, ServerRow, ServiceId, ServiceRow};

/// All services, the one added last first, as rules.
///
/// ipvsadm's own rules are sorted as listings are, and lose thresholds, marks above 2^31, flags that a scheduler has no
/// name for, and the order of servers, which schedulers follow. [`Complete`](Save::complete) ones stand in the order of
/// adding and lose nothing. What ipvsadm does not know is saved either way.
pub fn rules(
    mut services: Vec<ServiceRow>,
    save: &Save,
    names: &dyn Names,
    out: &mut dyn Write,
) -> io::Result<()> {
    if save.complete {
        services.reverse();
    } else {
        arrange_services(&mut services);
        sort_services(&mut services);
    }
    for mut service in services {
        if save.complete {
            service.servers.reverse();
        } else {
            sort_servers(&mut service.servers);
        }
        let name = service_switch(&service.id, save, names);
        service_rule(&name, &service, save, out)?;
        for local in service
            .local_addresses
            .iter()
            .filter(|local| !local.of_mode)
        {
            write!(out, "-P {name} -z {}", local.address)?;
            if let Some(interface) = &local.interface {
                write!(out, " -F {interface}")?;
            }
            writeln!(out)?;
        }
        for server in &service.servers {
            server_rule(&name, &service.id, server, save, names, out)?;
        }
    }
    Ok(())
}

fn service_switch(id: &ServiceId, save: &Save, names: &dyn Names) -> String {
    match id {
        ServiceId::Address { transport, vip } => {
            let vip = named(vip, Some(*transport), save.numeric, names);
            format!("{} {vip}", transport.switch())
        }
        ServiceId::Mark { mark, .. } => {
            let six = if id.family() == crate::Family::V6 {
                " -6"
            } else {
                ""
            };
            if save.complete {
                format!("-f {mark}{six}")
            } else {
                format!("-f {}{six}", *mark as i32)
            }
        }
    }
}

fn service_rule(name: &str, row: &ServiceRow, save: &Save, out: &mut dyn Write) -> io::Result<()> {
    let settings = &row.settings;
    write!(out, "-A {name} -s {}", settings.scheduler)?;
    if let Some(persistence) = &settings.persistence {
        write!(out, " -p {}", persistence.timeout_s)?;
        if let Some(mask) = persistence.mask.shown() {
            write!(out, " -M {mask}")?;
        }
    }
    if let Some(engine) = &settings.engine {
        write!(out, " --pe {engine}")?;
    }
    if settings.one_packet {
        write!(out, " -o")?;
    }
    if !settings.flags.is_empty() {
        let mut flags = settings.flags.shown(&settings.scheduler);
        let named_flag_3 = flags.ends_with("flag-3");
        if save.complete && settings.flags.contains(SchedulerFlags::THIRD) && !named_flag_3 {
            let comma = if flags.is_empty() { "" } else { "," };
            flags += &format!("{comma}flag-3");
        }
        write!(out, " -b {flags}")?;
    }
    writeln!(out)
}

fn server_rule(
    name: &str,
    id: &ServiceId,
    row: &ServerRow,
    save: &Save,
    names: &dyn Names,
    out: &mut dyn Write,
) -> io::Result<()> {
    let settings = &row.settings;
    let address = named(&settings.address, id.transport(), save.numeric, names);
    let method = settings.forwarding.switch();
    write!(
        out,
        "-a {name} -r {address} {method} -w {}",
        settings.weight
    )?;
    if let Forwarding::Tunnel(tunnel) = settings.forwarding {
        match tunnel {
            Tunnel::Ipip => write!(out, " --tun-type ipip")?,
            Tunnel::Gre { checksum } => {
                write!(out, " --tun-type gre {}", checksum_switch(checksum))?
            }
            Tunnel::Gue { port, checksum } => {
                write!(
                    out,
                    " --tun-type gue --tun-port {port} {}",
                    checksum_switch(checksum)
                )?;
            }
        }
    }
    if save.complete && settings.upper_threshold != 0 {
        write!(out, " -x {}", settings.upper_threshold)?;
    }
    if save.complete && settings.lower_threshold != 0 {
        write!(out, " -y {}", settings.lower_threshold)?;
    }
    writeln!(out)
}
