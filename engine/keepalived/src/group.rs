//! `virtual_server_group`: one name for many services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb::Addr;

use crate::block::Entry;
use crate::report::Report;

/// More is a slip of the pen.
const LARGEST: u128 = 65_536;

/// A group's members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    pub name: String,
    pub members: Vec<Member>,
}

/// What a group stands for, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Member {
    Address(Addr, u16),
    Mark { mark: u32, v6: Option<bool> },
}

/// The group that `entry` describes.
pub fn read(entry: &Entry, report: &mut Report) -> Option<Group> {
    if entry.value().is_empty() {
        report.error(entry, "allowed: a name");
        return None;
    }
    let mut group = Group {
        name: entry.value().to_owned(),
        members: Vec::new(),
    };
    for entry in entry.entries() {
        let members = members(entry);
        if members.is_empty() {
            report.error(
                entry,
                "allowed: ADDRESS [PORT], FIRST-LAST [PORT], NETWORK/LENGTH [PORT], fwmark NUMBER [inet|inet6]; \
                 not more than 65536 at once",
            );
        }
        group.members.extend(members);
        if group.members.len() as u128 > LARGEST {
            report.error(entry, "more than 65536 services in one group");
            group.members.clear();
            break;
        }
    }
    Some(group)
}

/// Those of one line; none if it makes no sense.
fn members(entry: &Entry) -> Vec<Member> {
    let words: Vec<&str> = entry.words.iter().map(String::as_str).collect();
    match words[..] {
        ["fwmark", mark, ref family @ ..] => {
            let v6 = match family {
                [] => Some(None),
                ["inet"] => Some(Some(false)),
                ["inet6"] => Some(Some(true)),
                _ => None,
            };
            let mark = mark.parse().ok().filter(|mark| *mark > 0);
            let member = mark.zip(v6).map(|(mark, v6)| Member::Mark { mark, v6 });
            member.into_iter().collect()
        }
        [range, ref port @ ..] if port.len() <= 1 => {
            let port = match port.first().map(|port| port.parse::<u16>()) {
                None => 0,
                Some(Ok(port)) => port,
                Some(Err(_)) => return Vec::new(),
            };
            let addresses = addresses(range).unwrap_or_default().into_iter();
            addresses.map(|addr| Member::Address(addr, port)).collect()
        }
        _ => Vec::new(),
    }
}

/// `10.0.0.1`, `10.0.0.1-9`, `10.0.0.1-10.0.1.9` or `10.0.0.0/29`, and the same in IPv6, whose short form ends in
/// hexadecimal digits.
fn addresses(text: &str) -> Option<Vec<Addr>> {
    let (first, last) = if let Some((network, len)) = text.split_once('/') {
        let (network, len) = (network.parse::<IpAddr>().ok()?, len.parse::<u32>().ok()?);
        let bits: u32 = if network.is_ipv4() { 32 } else { 128 };
        let hosts = 1_u128
            .checked_shl(bits.checked_sub(len)?)
            .unwrap_or(0)
            .wrapping_sub(1);
        let first = number(network) & !hosts;
        ((network, first), first | hosts)
    } else if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.parse().ok()?;
        let last = match (last.parse::<IpAddr>(), first) {
            (Ok(last), _) if last.is_ipv4() == first.is_ipv4() => number(last),
            (_, IpAddr::V4(_)) => number(first) & !0xff | u128::from(last.parse::<u8>().ok()?),
            (_, IpAddr::V6(_)) => {
                number(first) & !0xffff | u128::from(u16::from_str_radix(last, 16).ok()?)
            }
        };
        ((first, number(first)), last)
    } else {
        let address: IpAddr = text.parse().ok()?;
        ((address, number(address)), number(address))
    };
    let (family, first) = first;
    let count = last.checked_sub(first).filter(|more| *more < LARGEST)?;
    let address = |number: u128| match family {
        IpAddr::V4(_) => Addr::from(Ipv4Addr::from(number as u32)),
        IpAddr::V6(_) => Addr::from(IpAddr::from(Ipv6Addr::from(number))),
    };
    Some((0..=count).map(|at| address(first + at)).collect())
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// A mask of so many bits, in a family.
pub fn mask(v4: bool, len: u8) -> Addr {
    match v4 {
        true => Addr::from(Ipv4Addr::BROADCAST).masked(len),
        false => Addr::v6([0xff; 16]).masked(len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_keepalived_s() {
        let shown = |text: &str| {
            let all = addresses(text).unwrap_or_default();
            let ends = [all.first(), all.last()].map(|a| a.map(ToString::to_string));
            let [first, last] = ends.map(Option::unwrap_or_default);
            format!("{} {first} {last}", all.len())
        };
        for (text, expected) in [
            ("10.0.0.1", "1 10.0.0.1 10.0.0.1"),
            ("10.0.0.3-10", "8 10.0.0.3 10.0.0.10"),
            ("10.0.0.250-10.0.1.3", "10 10.0.0.250 10.0.1.3"),
            ("10.0.0.9/29", "8 10.0.0.8 10.0.0.15"),
            ("2001:db8::2-a", "9 2001:db8::2 2001:db8::a"),
            ("2001:db8::/127", "2 2001:db8:: 2001:db8::1"),
            ("10.0.0.9-3", "0  "),
            ("0.0.0.0/0", "0  "),
            ("::/0", "0  "),
            ("10.0.0.0/33", "0  "),
            ("10.0.0.1-::1", "0  "),
            ("x", "0  "),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
