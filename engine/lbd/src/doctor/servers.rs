//! Whether packets can get to the servers.

use super::facts::Facts;
use super::finding::Finding;

/// A finding for each server that cannot be reached, or one for all.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    if facts.servers.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = facts.interfaces.iter().map(|i| i.name.as_str()).collect();
    let interfaces = names.join(", ");
    let lost = facts.servers.iter().filter_map(|(addr, reachable)| {
        let about = format!("server {addr}");
        match reachable {
            Some(true) => None,
            Some(false) => {
                let last = names.last().copied().unwrap_or_default();
                let text = format!("no route that leaves by {interfaces}");
                Some(
                    Finding::problem(&about, "route", text)
                        .mend(format!("ip route add {addr} dev {last}, or via a router")),
                )
            }
            None => Some(Finding::unseen(&about, "route", "the kernel's routes")),
        }
    });
    let lost: Vec<Finding> = lost.collect();
    match lost.is_empty() {
        true => {
            let text = format!(
                "routes to all {} leave by {interfaces}",
                facts.servers.len()
            );
            vec![Finding::ok("servers", "route", text)]
        }
        false => lost,
    }
}

#[cfg(test)]
mod tests {
    use lb::Addr;

    use super::*;
    use crate::doctor::facts::tests::healthy;
    use crate::doctor::finding::Verdict;

    #[test]
    fn servers_without_a_route_are_named() {
        let mut facts = healthy();
        assert_eq!(findings(&facts)[0].verdict, Verdict::Ok);
        let far = Addr::v4([192, 0, 2, 9]);
        facts.servers.push((far, Some(false)));
        let found = findings(&facts);
        assert_eq!((found.len(), found[0].verdict), (1, Verdict::Problem));
        assert_eq!(found[0].about, "server 192.0.2.9");
        let fix = found[0].fix.as_deref();
        assert_eq!(
            fix,
            Some("ip route add 192.0.2.9 dev eth1, or via a router")
        );
    }
}
