//! The configuration file: several roles at once. `docs/real-servers.md` tells the same to people.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use lb_bpf::agent::{EnatSettings, PortMapping, Prefix, ToaSettings};
use lb_document::fault::Faults;
use lb_document::section::{Kind, NAME, Section, number};
use lb_document::{Document, Refusal};
use lb_model::Addr;

use crate::plan::{CAPACITIES, DrPlan, EnatPlan, FLOWS, GUE_PORT, Plan, TunPlan};

/// Reads the file at `path`.
///
/// # Errors
///
/// If it cannot be read, or says something that cannot be done.
pub fn load(path: &Path) -> Result<Plan, Refusal> {
    lb_document::load(path, plan)
}

/// Reads `text`, which errors call `name`.
///
/// # Errors
///
/// All that is wrong with it.
pub fn parse(name: String, text: String) -> Result<Plan, Refusal> {
    lb_document::parse(name, text, plan)
}

fn plan(document: &Document<'_>, faults: &mut Faults<'_>) -> Plan {
    let mut file = Section::root(document);
    let [toa, enat, tun, dr] = ["toa", "enat", "tun", "dr"].map(|role| file.table(role, faults));
    let plan = Plan {
        toa: toa.map(|section| toa_settings(section, faults)),
        enat: enat.map(|section| enat_plan(section, faults)),
        tun: tun.map(|section| tun_plan(section, faults)),
        dr: dr.map(|section| dr_plan(section, faults)),
    };
    file.end(faults);
    if faults.is_empty() && plan.roles().is_empty() {
        let none = "it has no role: write [toa], [enat], [tun] or [dr]";
        faults.meaning(&none, document.span());
    }
    plan
}

const VIP: Kind<Addr> = Kind {
    allowed: "an address, like \"10.0.0.100\" or \"2001:db8::100\"",
    parse: |value| value.as_str()?.parse::<IpAddr>().ok().map(Addr::from),
};

const SOURCE: Kind<Prefix> = Kind {
    allowed: "an address or prefix, like \"10.1.0.7\", \"10.1.0.0/24\" or \"2001:db8::/64\"",
    parse: |value| value.as_str()?.parse().ok(),
};

const YES_OR_NO: Kind<bool> = Kind {
    allowed: "true or false",
    parse: |value| value.as_bool(),
};

const CAPACITY: Kind<u32> = Kind {
    allowed: "a number from 1024 to 16777216",
    parse: |value| number(value).filter(|flows| CAPACITIES.contains(&(*flows).into())),
};

const PORT: Kind<u16> = Kind {
    allowed: "a port, from 1 to 65535",
    parse: |value| u16::try_from(number(value)?).ok().filter(|port| *port > 0),
};

const SERVICE: Kind<SocketAddr> = Kind {
    allowed: "VIP:PORT, like \"[2001:db8::100]:443\"",
    parse: |value| {
        let service: SocketAddr = value.as_str()?.parse().ok()?;
        (service.port() > 0).then_some(service)
    },
};

fn toa_settings(mut section: Section<'_>, faults: &mut Faults<'_>) -> ToaSettings {
    let settings = ToaSettings {
        from: section.list("from", &SOURCE, faults),
        every_namespace: section
            .value("every_namespace", &YES_OR_NO, faults)
            .unwrap_or(false),
    };
    section.end(faults);
    settings
}

fn enat_plan(mut section: Section<'_>, faults: &mut Faults<'_>) -> EnatPlan {
    let ports = section.tables("port", faults);
    let plan = EnatPlan {
        settings: EnatSettings {
            vips: section.at_least_one("vips", &VIP, faults),
            ports: ports
                .into_iter()
                .filter_map(|section| port_mapping(section, faults))
                .collect(),
            capacity: section
                .value("capacity", &CAPACITY, faults)
                .unwrap_or(FLOWS),
        },
        interfaces: section.list("interfaces", &NAME, faults),
        hold_vips: holds_vips(&mut section, faults),
    };
    section.end(faults);
    plan
}

fn port_mapping(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<PortMapping> {
    let service = section.required("service", &SERVICE, faults);
    let rport = section.required("rport", &PORT, faults);
    section.end(faults);
    let service = service?;
    Some(PortMapping {
        vip: service.ip().into(),
        vport: service.port(),
        rport: rport?,
    })
}

fn tun_plan(mut section: Section<'_>, faults: &mut Faults<'_>) -> TunPlan {
    let plan = TunPlan {
        vips: section.at_least_one("vips", &VIP, faults),
        from: section.list("from", &SOURCE, faults),
        gue_ports: match section.has("gue_ports") {
            true => section.list("gue_ports", &PORT, faults),
            false => {
                section.knows(&["gue_ports"]);
                vec![GUE_PORT]
            }
        },
        interfaces: section.list("interfaces", &NAME, faults),
        hold_vips: holds_vips(&mut section, faults),
    };
    section.end(faults);
    plan
}

fn dr_plan(mut section: Section<'_>, faults: &mut Faults<'_>) -> DrPlan {
    let vips = section.at_least_one("vips", &VIP, faults);
    section.end(faults);
    DrPlan { vips }
}

fn holds_vips(section: &mut Section<'_>, faults: &mut Faults<'_>) -> bool {
    section
        .value("hold_vips", &YES_OR_NO, faults)
        .unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Plan, Refusal> {
        parse("lbrs.toml".into(), text.into())
    }

    #[test]
    fn a_file_may_have_all_roles() {
        let plan = read(
            "[toa]\n[enat]\nvips = [\"2001:db8::1\"]\n[[enat.port]]\nservice = \"[2001:db8::1]:443\"\nrport = 8443\n\
             [tun]\nvips = [\"10.0.0.100\", \"2001:db8::100\"]\nfrom = [\"10.1.0.0/24\"]\ngue_ports = [6080, 7080]\n\
             [dr]\nvips = [\"10.0.0.101\"]\n",
        )
        .expect("a configuration");
        let tun = plan.tun.as_ref().expect("the role");
        assert_eq!(tun.gue_ports, [6080, 7080]);
        assert!(tun.hold_vips);
        let enat = plan.enat.as_ref().expect("the role");
        assert_eq!(
            (enat.settings.ports.len(), enat.settings.capacity),
            (1, FLOWS)
        );
        assert_eq!(plan.roles().len(), 4);
    }

    #[test]
    fn all_mistakes_are_shown_where_they_stand_with_what_is_allowed() {
        for (text, said) in [
            ("", "it has no role: write [toa], [enat], [tun] or [dr]"),
            ("[dr]\nvips = []\n", "dr.vips: [], allowed: at least one of"),
            (
                "[dr]\nvips = [\"10.0.0.256\"]\n",
                "dr.vips[0]: \"10.0.0.256\", allowed: an address",
            ),
            ("[dr]\n", "dr.vips: missing"),
            ("[dr]\nvip = [\"10.0.0.1\"]\n", "did you mean `vips`?"),
            ("[enut]\n", "did you mean `enat`?"),
            ("[dr]\nvips = [\"10.0.0.1\"]\nx = 1\n", "lbrs.toml:3:1"),
            (
                "[tun]\nvips = [\"10.0.0.1\"]\nfrom = [\"10.0.0.1/8\"]\n",
                "tun.from[0]: \"10.0.0.1/8\"",
            ),
            (
                "[tun]\nvips = [\"10.0.0.1\"]\ngue_ports = [70000]\n",
                "allowed: a port, from 1 to 65535",
            ),
            (
                "[enat]\nvips = [\"10.0.0.1\"]\ncapacity = 10\n",
                "a number from 1024 to 16777216",
            ),
            (
                "[enat]\nvips = [\"::1\"]\n[[enat.port]]\nservice = \"[::1]:0\"\nrport = 0\n",
                "enat.port[0].rport: 0",
            ),
            ("[dr\n", "lbrs.toml:1"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
        let two = read("[dr]\nvips = 1\n[toa]\nfrom = 2\n").expect_err("two mistakes");
        assert!(two.to_string().contains("dr.vips") && two.to_string().contains("toa.from"));
    }
}
