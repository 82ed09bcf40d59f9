//! The configuration file: several roles at once.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::Path;

use anyhow::{Context, bail};
use lb_bpf::agent::{EnatSettings, PortMapping, Prefix, ToaSettings};
use lb_model::Addr;
use serde::{Deserialize, Deserializer, de};

use crate::plan::{DrPlan, EnatPlan, FLOWS, GUE_PORT, Plan, TunPlan};

/// Nobody writes that much; a device named by mistake never ends.
const LARGEST_FILE: u64 = 1 << 20;

/// Reads the file at `path`.
pub fn load(path: &Path) -> anyhow::Result<Plan> {
    let name = path.display();
    let size = fs::metadata(path).with_context(|| format!("cannot read {name}"))?;
    if !size.is_file() || size.len() > LARGEST_FILE {
        bail!("{name}: not a file of at most 1 MiB");
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    parse(&text).with_context(|| format!("{name} is not a configuration"))
}

fn parse(text: &str) -> anyhow::Result<Plan> {
    let file: File = toml::from_str(text)?;
    let plan = Plan {
        toa: file.toa.map(Toa::plan),
        enat: file.enat.map(Enat::plan),
        tun: file.tun.map(Tun::plan),
        dr: file.dr.map(Dr::plan),
    };
    if plan.roles().is_empty() {
        bail!("it has no role: write [toa], [enat], [tun] or [dr]");
    }
    Ok(plan)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    toa: Option<Toa>,
    enat: Option<Enat>,
    tun: Option<Tun>,
    dr: Option<Dr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Toa {
    #[serde(default)]
    from: Vec<Source>,
    #[serde(default)]
    every_namespace: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enat {
    vips: Vips,
    #[serde(default)]
    port: Vec<Port>,
    #[serde(default)]
    capacity: Capacity,
    #[serde(default)]
    interfaces: Vec<String>,
    #[serde(default = "yes")]
    hold_vips: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Port {
    service: SocketAddr,
    rport: NonZeroU16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tun {
    vips: Vips,
    #[serde(default)]
    from: Vec<Source>,
    #[serde(default = "gue_ports")]
    gue_ports: Vec<u16>,
    #[serde(default)]
    interfaces: Vec<String>,
    #[serde(default = "yes")]
    hold_vips: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dr {
    vips: Vips,
}

fn gue_ports() -> Vec<u16> {
    vec![GUE_PORT]
}

fn yes() -> bool {
    true
}

impl Toa {
    fn plan(self) -> ToaSettings {
        ToaSettings {
            from: prefixes(self.from),
            every_namespace: self.every_namespace,
        }
    }
}

impl Enat {
    fn plan(self) -> EnatPlan {
        let ports = self.port.into_iter().map(|port| PortMapping {
            vip: port.service.ip().into(),
            vport: port.service.port(),
            rport: port.rport.get(),
        });
        EnatPlan {
            settings: EnatSettings {
                vips: self.vips.0,
                ports: ports.collect(),
                capacity: self.capacity.0,
            },
            interfaces: self.interfaces,
            hold_vips: self.hold_vips,
        }
    }
}

impl Tun {
    fn plan(self) -> TunPlan {
        TunPlan {
            vips: self.vips.0,
            from: prefixes(self.from),
            gue_ports: self.gue_ports,
            interfaces: self.interfaces,
            hold_vips: self.hold_vips,
        }
    }
}

impl Dr {
    fn plan(self) -> DrPlan {
        DrPlan { vips: self.vips.0 }
    }
}

/// A number of flows that is worth while and that the kernel takes.
struct Capacity(u32);

impl Default for Capacity {
    fn default() -> Capacity {
        Capacity(FLOWS)
    }
}

impl<'de> Deserialize<'de> for Capacity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Capacity, D::Error> {
        match u32::deserialize(from)? {
            flows @ 1024..=16_777_216 => Ok(Capacity(flows)),
            flows => Err(de::Error::custom(format_args!(
                "{flows}, allowed 1024..=16777216"
            ))),
        }
    }
}

/// At least one address.
struct Vips(Vec<Addr>);

impl<'de> Deserialize<'de> for Vips {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Vips, D::Error> {
        let vips: Vec<IpAddr> = Vec::deserialize(from)?;
        if vips.is_empty() {
            return Err(de::Error::custom("at least one address is needed"));
        }
        Ok(Vips(vips.into_iter().map(Addr::from).collect()))
    }
}

fn prefixes(sources: Vec<Source>) -> Vec<Prefix> {
    sources.into_iter().map(|source| source.0).collect()
}

/// Somebody who is believed.
struct Source(Prefix);

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Source, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Source).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_all_roles() {
        let plan = parse(
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
    fn mistakes_are_shown_with_their_line_and_what_is_allowed() {
        for (text, said) in [
            ("", "no role"),
            ("[dr]\nvips = []\n", "line 2"),
            ("[dr]\nvips = [\"10.0.0.256\"]\n", "invalid IP address"),
            ("[dr]\n", "missing field `vips`"),
            ("[dr]\nvip = [\"10.0.0.1\"]\n", "expected `vips`"),
            ("[dr]\nvips = [\"10.0.0.1\"]\nx = 1\n", "line 3"),
            (
                "[tun]\nvips = [\"10.0.0.1\"]\nfrom = [\"10.0.0.1/8\"]\n",
                "not an address or prefix",
            ),
            (
                "[tun]\nvips = [\"10.0.0.1\"]\ngue_ports = [70000]\n",
                "line 3",
            ),
            (
                "[enat]\nvips = [\"10.0.0.1\"]\ncapacity = 10\n",
                "allowed 1024..=16777216",
            ),
            ("[dr\n", "line 1"),
        ] {
            let error = format!("{:#}", parse(text).expect_err(text));
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }
}
