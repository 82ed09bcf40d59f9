//! ipvsadm's words in the engine's.

use std::time::Duration;

use lb::{Addr, Thresholds};
use lb_ipvsadm::{
    Family, Forwarding, Mask, Refusal, ServerSettings, ServiceId, ServiceSettings, Tunnel,
};

/// The one that Linux has.
const PERSISTENCE_ENGINE: &str = "sip";

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

pub fn service_spec(
    id: &ServiceId,
    settings: &ServiceSettings,
) -> Result<lb::ServiceSpec, Refusal> {
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

pub fn server_spec(server: &ServerSettings) -> Result<lb::ServerSpec, Refusal> {
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
