//! The order of listings.
//!
//! ipvsadm compares addresses by the sign of their 32-bit difference. That is no order: 192.0.2.9 comes before 9.9.9.9,
//! and three addresses can each come before the next in a circle. What then comes out depends on how the sorting goes about
//! it, so this is the C library's merge sort, comparison by comparison; the standard library's refuses such relations.

use std::net::{IpAddr, SocketAddr};

use crate::{Family, ServerRow, ServiceId, ServiceRow, Transport};

/// Puts services, the one added last first, into the order in which the kernel hands them out: by the slots of its hash
/// tables, marks last. `--nosort` shows it, and in a circle of addresses it decides how the circle is cut.
pub(crate) fn arrange_services(services: &mut [ServiceRow]) {
    services.sort_by_key(|service| match service.id {
        ServiceId::Address { transport, vip } => {
            let folded = address_words(vip.ip())
                .into_iter()
                .fold(0, |sum, word| sum ^ word);
            let port = u32::from(vip.port());
            let hash = u32::from(transport.number()) ^ folded ^ (port >> KERNEL_SLOT_BITS) ^ port;
            (false, hash % (1 << KERNEL_SLOT_BITS))
        }
        ServiceId::Mark { mark, .. } => (true, mark % (1 << KERNEL_SLOT_BITS)),
    });
}

/// `IP_VS_SVC_TAB_BITS` in the kernel's `ip_vs_ctl.c`. It also mixes in where in memory the network namespace lies, which
/// here is nowhere.
const KERNEL_SLOT_BITS: u32 = 8;

/// Sorts services as ipvsadm does: marks, families, protocols, addresses, ports.
pub(crate) fn sort_services(services: &mut Vec<ServiceRow>) {
    merge_sort(services, |a, b| after_service(&a.id, &b.id) > 0);
}

/// Sorts the servers of one service: addresses, ports.
pub(crate) fn sort_servers(servers: &mut Vec<ServerRow>) {
    merge_sort(servers, |a, b| {
        after_server(&a.settings.address, &b.settings.address) > 0
    });
}

/// Negative, zero or positive as `a` comes before, with or after `b`.
fn after_service(a: &ServiceId, b: &ServiceId) -> i32 {
    let mark = |id: &ServiceId| match id {
        ServiceId::Mark { mark, .. } => *mark,
        ServiceId::Address { .. } => 0,
    };
    let family = |id: &ServiceId| i32::from(id.family() == Family::V6);
    let transport = |id: &ServiceId| i32::from(id.transport().map_or(0, Transport::number));
    let first_difference = [
        difference(mark(a), mark(b)),
        family(a) - family(b),
        transport(a) - transport(b),
    ];
    match first_difference.into_iter().find(|d| *d != 0) {
        Some(d) => d,
        None => match (a, b) {
            (ServiceId::Address { vip: a, .. }, ServiceId::Address { vip: b, .. }) => {
                after_server(a, b)
            }
            _ => 0,
        },
    }
}

fn after_server(a: &SocketAddr, b: &SocketAddr) -> i32 {
    let words = if a.is_ipv6() { 4 } else { 1 };
    let pairs = address_words(a.ip()).into_iter().zip(address_words(b.ip()));
    pairs
        .take(words)
        .map(|(a, b)| difference(a, b))
        .find(|d| *d != 0)
        .unwrap_or(i32::from(a.port()) - i32::from(b.port()))
}

fn difference(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// As they lie in the kernel's union of both families.
fn address_words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(v4) => [v4.into(), 0, 0, 0],
        IpAddr::V6(v6) => {
            let all = u128::from(v6);
            [96, 64, 32, 0].map(|shift| (all >> shift) as u32)
        }
    }
}

/// Splits in halves, the second one longer if they differ, sorts each and merges; equals keep their order.
fn merge_sort<T>(items: &mut Vec<T>, after: impl Fn(&T, &T) -> bool + Copy) {
    if items.len() < 2 {
        return;
    }
    let mut second = items.split_off(items.len() / 2);
    let mut first = std::mem::take(items);
    merge_sort(&mut first, after);
    merge_sort(&mut second, after);
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    while let (Some(a), Some(b)) = (first.peek(), second.peek()) {
        let from = if after(a, b) { &mut second } else { &mut first };
        items.extend(from.next());
    }
    items.extend(first.chain(second));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut addresses: Vec<&str>) -> Vec<&str> {
        let address = |text: &str| text.parse::<SocketAddr>().expect("valid");
        merge_sort(&mut addresses, |a, b| {
            after_server(&address(a), &address(b)) > 0
        });
        addresses
    }

    #[test]
    fn addresses_far_apart_sort_the_wrong_way_round() {
        assert_eq!(
            sorted(vec!["9.9.9.9:80", "192.0.2.9:80"]),
            ["192.0.2.9:80", "9.9.9.9:80"]
        );
        assert_eq!(
            sorted(vec!["10.0.0.3:81", "10.0.0.20:80", "10.0.0.3:80"]),
            ["10.0.0.3:80", "10.0.0.3:81", "10.0.0.20:80"]
        );
        assert_eq!(
            sorted(vec!["[2001:db8::b]:1", "[2001:db8::a]:2"]),
            ["[2001:db8::a]:2", "[2001:db8::b]:1"]
        );
    }

    #[test]
    fn a_circle_of_addresses_is_sorted_all_the_same() {
        // Each is before the next, and the last before the first.
        let circle = ["0.0.0.1:1", "96.0.0.1:1", "192.0.0.1:1"];
        for turn in 0..3 {
            let mut given = circle.to_vec();
            given.rotate_left(turn);
            assert_eq!(sorted(given.clone()).len(), 3, "{given:?}");
        }
    }
}
