//! What stays keepalived's: VRRP, and everything that is not about LVS.

use std::fmt::Write;
use std::net::IpAddr;

use lb::Addr;

use crate::block::Entry;
use crate::global::Global;
use crate::report::{Kind, Report};

/// The blocks that keepalived keeps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Vrrp {
    pub instances: Vec<Instance>,
}

/// A `vrrp_instance`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    pub name: String,
    pub interface: Option<String>,
    /// Its addresses, wherever they are named.
    pub addresses: Vec<Addr>,
    has_track_script: bool,
    has_track_interface: bool,
}

impl Vrrp {
    /// Takes a block that is none of ours.
    pub fn take(&mut self, entry: &Entry, report: &mut Report) {
        let reason = match entry.key() {
            "vrrp_instance" => {
                self.instances.push(instance(entry, report));
                "VRRP: keepalived elects the balancer that holds these addresses"
            }
            key if is_keepalived_s(key) => "keepalived goes on doing it",
            _ => return report.unused(entry, "unknown to keepalived 2.2, too, as far as we know"),
        };
        report.add(Kind::Left, &entry.place, entry.shown(), reason);
    }

    /// The interfaces of all instances.
    pub fn interfaces(&self) -> Vec<String> {
        let mut interfaces: Vec<String> = Vec::new();
        for interface in self.instances.iter().filter_map(|i| i.interface.as_ref()) {
            if !interfaces.contains(interface) {
                interfaces.push(interface.clone());
            }
        }
        interfaces
    }
}

fn is_keepalived_s(key: &str) -> bool {
    key.starts_with("vrrp_")
        || key.starts_with("static_")
        || key.starts_with("linkbeat_")
        || matches!(
            key,
            "net_namespace"
                | "net_namespace_ipvs"
                | "namespace_with_ipsets"
                | "instance"
                | "use_pid_dir"
                | "child_wait_time"
                | "include_check"
                | "track_group"
                | "track_file"
                | "bfd_instance"
                | "garp_group"
                | "interface_up_down_delays"
                | "process_names"
                | "dbus_service_name"
        )
}

fn instance(entry: &Entry, report: &mut Report) -> Instance {
    let mut instance = Instance {
        name: entry.value().to_owned(),
        interface: None,
        addresses: Vec::new(),
        has_track_script: false,
        has_track_interface: false,
    };
    for entry in entry.entries() {
        match entry.key() {
            "interface" => instance.interface = Some(entry.value().to_owned()),
            "track_script" => instance.has_track_script = true,
            "track_interface" => instance.has_track_interface = true,
            "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
                let addresses = entry.entries().iter().filter_map(|entry| {
                    let addr = entry.key().split('/').next().unwrap_or_default();
                    addr.parse::<IpAddr>().ok().map(Addr::from)
                });
                instance.addresses.extend(addresses);
            }
            "lvs_sync_daemon_interface" => report.unused(
                entry,
                "lbd's own: ipvsadm --start-daemon in the notify scripts, see docs/high-availability.md",
            ),
            _ => {}
        }
    }
    instance
}

/// The lines that tell keepalived of lbd, as docs/high-availability.md recommends them; nothing without an instance.
pub fn snippet(vrrp: &Vrrp, global: &Global) -> String {
    let mut text = String::new();
    if vrrp.instances.is_empty() {
        return text;
    }
    text.push_str(
        "# For keepalived.conf, without its virtual_server and virtual_server_group blocks; start it as\n\
         # keepalived --vrrp. A balancer whose lbd is not at work gives its addresses away, and does so\n\
         # at once when lbd0 goes, which is lbd's own device.\n",
    );
    if !global.dynamic_interfaces {
        // Without it keepalived does not start before lbd.
        text.push_str("global_defs {\n    dynamic_interfaces\n}\n");
    }
    text.push_str(
        "vrrp_script lbd {\n    script \"/usr/bin/lbctl health\"\n    interval 1\n    timeout 5\n    fall 1\n    rise 1\n}\n",
    );
    for instance in &vrrp.instances {
        for (block, word, is_there) in [
            ("track_script", "lbd", instance.has_track_script),
            ("track_interface", "lbd0", instance.has_track_interface),
        ] {
            let name = &instance.name;
            // A string takes all that is written to it.
            let _ = match is_there {
                true => writeln!(
                    text,
                    "\n# vrrp_instance {name}: in its {block} block\n        {word}"
                ),
                false => writeln!(
                    text,
                    "\n# vrrp_instance {name}: in it\n    {block} {{\n        {word}\n    }}"
                ),
            };
        }
    }
    text
}
