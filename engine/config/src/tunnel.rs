//! `tunnel` of a server: what its packets are wrapped in.

use lb::{Tunnel, TunnelChecksum};
use toml::de::DeValue;

use super::fault::Faults;
use super::section::{Kind, Section};

/// The tunnel that `section` describes.
pub fn read(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<Tunnel> {
    let tunnel = match section.required("type", &TYPE, faults)? {
        Type::Ipip => Some(Tunnel::Ipip),
        Type::Gue => {
            let port = section.required("port", &PORT, faults);
            let checksum = section.value("checksum", &GUE_CHECKSUM, faults);
            port.map(|port| Tunnel::Gue {
                port,
                checksum: checksum.unwrap_or_default(),
            })
        }
        Type::Gre => {
            let checksum = section.value("checksum", &GRE_CHECKSUM, faults);
            Some(Tunnel::Gre {
                checksum: checksum.unwrap_or_default(),
            })
        }
    };
    section.end(faults);
    tunnel
}

/// The tunnel as it is written; `None` for the one that need not be.
pub fn written(tunnel: Tunnel) -> Option<String> {
    let fields = match tunnel {
        Tunnel::Ipip => return None,
        Tunnel::Gue { port, checksum } => {
            format!(
                "type = \"gue\", port = {port}, checksum = {}",
                name(checksum)
            )
        }
        Tunnel::Gre { checksum } => format!("type = \"gre\", checksum = {}", name(checksum)),
    };
    Some(format!("{{ {fields} }}"))
}

fn name(checksum: TunnelChecksum) -> &'static str {
    match checksum {
        TunnelChecksum::Absent => "\"none\"",
        TunnelChecksum::Present => "\"csum\"",
        TunnelChecksum::Remote => "\"remcsum\"",
    }
}

#[derive(Clone, Copy)]
enum Type {
    Ipip,
    Gue,
    Gre,
}

const TYPE: Kind<Type> = Kind {
    allowed: "\"ipip\", \"gue\" or \"gre\"",
    parse: |value| match value.as_str()? {
        "ipip" => Some(Type::Ipip),
        "gue" => Some(Type::Gue),
        "gre" => Some(Type::Gre),
        _ => None,
    },
};

const PORT: Kind<u16> = Kind {
    allowed: "the server's UDP port for GUE, 1..=65535",
    parse: |value| {
        let port = super::schema::number(value)?;
        u16::try_from(port).ok().filter(|port| *port > 0)
    },
};

const GUE_CHECKSUM: Kind<TunnelChecksum> = Kind {
    allowed: "\"none\", \"csum\" or \"remcsum\"",
    parse: checksum,
};

const GRE_CHECKSUM: Kind<TunnelChecksum> = Kind {
    allowed: "\"none\" or \"csum\"",
    parse: |value| checksum(value).filter(|checksum| *checksum != TunnelChecksum::Remote),
};

fn checksum(value: &DeValue<'_>) -> Option<TunnelChecksum> {
    match value.as_str()? {
        "none" => Some(TunnelChecksum::Absent),
        "csum" => Some(TunnelChecksum::Present),
        "remcsum" => Some(TunnelChecksum::Remote),
        _ => None,
    }
}
