//! `[ipvs]`: the kernel's switches, under the kernel's names.

use std::time::Duration;

use lb::IpvsSettings;
use toml::de::DeValue;

use super::fault::Faults;
use super::schema::number;
use super::section::{Kind, Section};

const SWITCH: Kind<bool> = Kind {
    allowed: "0 or 1",
    parse: |value| match number(value) {
        Some(0) => Some(false),
        Some(1) => Some(true),
        _ => None,
    },
};

const REUSE_MODE: Kind<u8> = Kind {
    allowed: "0..=3",
    parse: |value| {
        number(value)
            .and_then(|n| u8::try_from(n).ok())
            .filter(|n| *n <= 3)
    },
};

const MESSAGES: Kind<u32> = Kind {
    allowed: "a number from 0",
    parse: number,
};

const DEFENCE: Kind<bool> = Kind {
    allowed: "0 or 3",
    parse: |value| match number(value) {
        Some(0) => Some(false),
        Some(3) => Some(true),
        _ => None,
    },
};

const SECONDS: Kind<Duration> = Kind {
    allowed: "seconds, from 1",
    parse: seconds,
};

fn seconds(value: &DeValue<'_>) -> Option<Duration> {
    let seconds = number(value).filter(|n| *n > 0)?;
    Some(Duration::from_secs(seconds.into()))
}

pub fn read(mut section: Section<'_>, faults: &mut Faults<'_>) -> IpvsSettings {
    let mut settings = IpvsSettings::default();
    let mut set = |key, switch: &mut bool| {
        if let Some(value) = section.value(key, &SWITCH, faults) {
            *switch = value;
        }
    };
    set("expire_nodest_conn", &mut settings.expire_nodest_conn);
    set(
        "expire_quiescent_template",
        &mut settings.expire_quiescent_template,
    );
    set("sloppy_tcp", &mut settings.sloppy_tcp);
    set("pmtu_disc", &mut settings.pmtu_disc);
    set("nat_icmp_send", &mut settings.nat_icmp_send);
    if let Some(secure) = section.value("secure_tcp", &DEFENCE, faults) {
        settings.secure_tcp = secure;
    }
    let mut set = |key, expiration: &mut Duration| {
        if let Some(value) = section.value(key, &SECONDS, faults) {
            *expiration = value;
        }
    };
    set("lblc_expiration", &mut settings.lblc_expiration);
    set("lblcr_expiration", &mut settings.lblcr_expiration);
    let mut set = |key, messages: &mut u32| {
        if let Some(value) = section.value(key, &MESSAGES, faults) {
            *messages = value;
        }
    };
    set("icmp_msgs_per_sec", &mut settings.icmp_msgs_per_sec);
    set("icmp_msgs_burst", &mut settings.icmp_msgs_burst);
    if let Some(mode) = section.value("conn_reuse_mode", &REUSE_MODE, faults) {
        settings.conn_reuse_mode = mode;
    }
    section.end(faults);
    settings
}
