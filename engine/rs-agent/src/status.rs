//! `lbrs status`: what is attached and what it counted.

use std::net::IpAddr;
use std::path::Path;

use lb_bpf::agent::{Flows, Hook};
use serde::Serialize;

use crate::agent::interfaces_of;
use crate::place::Place;
use crate::presence::Presence;
use crate::rights;
use lbrs::plan::Role;

/// Prints it.
pub fn print(directory: Option<&Path>, json: bool) -> anyhow::Result<()> {
    rights::require(&Role::ALL)?;
    let status = Status::read(&Place::find(directory)?)?;
    if json {
        anstream::println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        anstream::print!("{}", status.table());
    }
    Ok(())
}

/// Everything there is to say. Its JSON is described in docs/real-servers.md: members may be added, none goes.
#[derive(Serialize)]
struct Status {
    network_namespace: u64,
    roles: Vec<RoleStatus>,
}

#[derive(Serialize)]
struct RoleStatus {
    role: &'static str,
    #[serde(skip)]
    knows_sources: bool,
    attached: bool,
    keeper: Option<u32>,
    hooks: Vec<String>,
    interfaces: Vec<String>,
    vips: Vec<IpAddr>,
    vips_held: Vec<IpAddr>,
    from: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<FlowStatus>,
    counters: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct FlowStatus {
    used: u32,
    capacity: u32,
}

impl Status {
    fn read(place: &Place) -> anyhow::Result<Status> {
        let roles = Role::ALL.into_iter().map(|role| read_role(place, role));
        Ok(Status {
            network_namespace: place.cookie(),
            roles: roles.collect::<anyhow::Result<_>>()?,
        })
    }

    fn table(&self) -> String {
        let mut rows =
            vec![["ROLE", "ATTACHED", "KEEPER", "WHERE", "VIPS", "FROM"].map(str::to_owned)];
        rows.extend(self.roles.iter().map(RoleStatus::row));
        let mut table = aligned(&rows);
        for role in &self.roles {
            let moved = (role.counters.iter()).filter(|(_, value)| value.as_u64() != Some(0));
            let rows: Vec<[String; 2]> = moved
                .map(|(name, value)| [format!("{}.{name}", role.role), value.to_string()])
                .collect();
            table.push_str(&aligned(&rows));
            if let Some(FlowStatus { used, capacity }) = &role.flows {
                table.push_str(&format!("{} flows {used} of {capacity}\n", role.role));
            }
        }
        table
    }
}

impl RoleStatus {
    fn row(&self) -> [String; 6] {
        let listed = |items: Vec<String>, none: &str| match items.is_empty() {
            true => none.to_owned(),
            false => items.join(","),
        };
        let vips = [&self.vips, &self.vips_held].into_iter().flatten();
        let vips: std::collections::BTreeSet<String> = vips.map(ToString::to_string).collect();
        let everybody = if self.attached && self.knows_sources {
            "anybody"
        } else {
            "-"
        };
        [
            self.role.to_owned(),
            if self.attached { "yes" } else { "no" }.to_owned(),
            self.keeper
                .map_or("-".to_owned(), |process| process.to_string()),
            listed(
                self.interfaces.clone(),
                if self.attached && self.role == "toa" {
                    "sockets"
                } else {
                    "-"
                },
            ),
            listed(vips.into_iter().collect(), "-"),
            listed(self.from.clone(), everybody),
        ]
    }
}

fn read_role(place: &Place, role: Role) -> anyhow::Result<RoleStatus> {
    let presence = Presence::open(place)?;
    let pins = place.pins(role);
    let vips_held = presence.held_by(role);
    let mut status = RoleStatus {
        role: role.name(),
        knows_sources: role.knows_sources(),
        attached: pins.exist() || !vips_held.is_empty(),
        keeper: place.keeper(role),
        hooks: Vec::new(),
        interfaces: Vec::new(),
        vips: Vec::new(),
        vips_held,
        from: Vec::new(),
        flows: None,
        counters: serde_json::Map::new(),
    };
    if !pins.exist() {
        return Ok(status);
    }
    let hooks = pins.hooks()?;
    status.interfaces = interfaces_of(&hooks, &lb_netlink::links()?);
    status.hooks = hooks.iter().map(Hook::to_string).collect();
    if role.knows_vips() {
        status.vips = pins.vips()?.into_iter().map(IpAddr::from).collect();
    }
    if role.knows_sources() {
        status.from = pins.trusted()?.iter().map(ToString::to_string).collect();
    }
    if role == Role::Enat {
        let usage = Flows::open(&pins)?.usage()?;
        status.flows = Some(FlowStatus {
            used: usage.used,
            capacity: usage.capacity,
        });
    }
    for (name, value) in pins.counters(role.counters())? {
        status.counters.insert(name.to_owned(), value.into());
    }
    Ok(status)
}

/// Columns as wide as their widest cell.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let line = |row: &[String; N]| {
        let cells = row.iter().enumerate();
        let cells: Vec<String> = cells
            .map(|(column, cell)| format!("{cell:width$}", width = width(column)))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
