//! The kernel's own balancer as a contestant: destination NAT by nftables, one server after the other, with connection
//! tracking.

use std::fs;
use std::path::Path;
use std::process::Command;

use lb_testkit::netns::{Namespace, Scratch};

use crate::arena::{Family, PORT};
use crate::contestant::is_installed;

const PROGRAM: &str = "nft";
/// How many connections the kernel tracks at most.
const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// Why it cannot take part, if it cannot.
pub fn missing() -> Option<&'static str> {
    (!is_installed(PROGRAM)).then_some("there is no nft (Debian: nftables)")
}

/// The rules, while they are in force. They go with their namespace.
pub struct Rules {
    /// The limit that was in force before, which is the whole machine's.
    limit: Option<String>,
}

impl Rules {
    /// Puts the rules into force, with room for so many connections.
    pub fn load(balancer: &Namespace, flows: u32) -> anyhow::Result<Rules> {
        let scratch = Scratch::new()?;
        let file = scratch.write("rules", rules())?;
        let mut nft = Command::new(PROGRAM);
        nft.arg("--file").arg(file);
        balancer.check_output(nft)?;
        let before = fs::read_to_string(LIMIT)?;
        let wanted = 2 * flows;
        let limit = match before.trim().parse::<u32>() {
            Ok(limit) if limit >= wanted => None,
            _ => {
                fs::write(LIMIT, wanted.to_string())?;
                Some(before)
            }
        };
        Ok(Rules { limit })
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        if let Some(limit) = &self.limit
            && Path::new(LIMIT).exists()
        {
            // Nothing else can be done about it than to say so.
            if let Err(error) = fs::write(LIMIT, limit) {
                eprintln!("{LIMIT} is not {} any more: {error}", limit.trim());
            }
        }
    }
}

fn rules() -> String {
    let servers = Family::V4.servers();
    let map: Vec<String> = (servers.iter().enumerate())
        .map(|(number, server)| format!("{number} : {server}"))
        .collect();
    format!(
        "table ip balancer {{
           chain prerouting {{
             type nat hook prerouting priority dstnat;
             ip daddr {} meta l4proto {{ tcp, udp }} th dport {PORT} dnat to numgen inc mod {} map {{ {} }}
           }}
         }}\n",
        Family::V4.vip(),
        servers.len(),
        map.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_servers_have_their_turn() {
        let rules = rules();
        assert!(rules.contains("numgen inc mod 16 map { 0 : 10.1.0.11, 1 : 10.1.0.12,"));
        assert!(rules.contains("15 : 10.1.0.26 }\n"), "{rules}");
    }
}
