//! The values of options, each with the limits and the complaint that ipvsadm has for it.

use std::net::IpAddr;

use crate::UsageError;
use crate::address::number;

/// 31 days, for `-p` and `--set`.
const LONGEST_TIMEOUT_S: i64 = 86_400 * 31;

pub(crate) fn timeout(text: &str, shortest: i64) -> Result<u32, UsageError> {
    number(text, shortest..=LONGEST_TIMEOUT_S)
        .map(|seconds| seconds as u32)
        .ok_or_else(|| UsageError::mistake(format!("invalid timeout value `{text}' specified")))
}

/// 0 to what a C `int` holds.
pub(crate) fn natural(text: &str, mistake: &str) -> Result<u32, UsageError> {
    within(text, 0, i64::from(i32::MAX), mistake).map(|n| n as u32)
}

pub(crate) fn within(text: &str, least: i64, most: i64, mistake: &str) -> Result<i64, UsageError> {
    number(text, least..=most).ok_or_else(|| UsageError::mistake(mistake))
}

pub(crate) fn multicast(text: &str) -> Result<IpAddr, UsageError> {
    let family = if text.contains(':') { "IPv6" } else { "IPv4" };
    text.parse::<IpAddr>()
        .ok()
        .filter(IpAddr::is_multicast)
        .ok_or_else(|| UsageError::mistake(format!("invalid {family} mcast-group `{text}'")))
}
