//! VIPs on loopback, held without answering ARP for them.
//!
//! Several roles may want the same VIP, so a small file says who holds which, and what the two sysctls were before; it is
//! written before anything is changed, so whatever a crash leaves half done can be undone. An address that somebody
//! else had put there stays when we go; ours are known by a mark of the kernel's (`ip address` shows `proto 0x72`).
//!
//! In IPv6 nothing is needed but the address: neighbour discovery does not speak for what is on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use lb_model::Addr;
use lb_netlink::{AGENT, AddedAddress, Origin};
use serde::{Deserialize, Serialize};

use crate::place::Place;
use lbrs::plan::Role;

const LOOPBACK: &str = "lo";

/// What keeps the kernel from speaking for an address on another interface: it answers ARP only for addresses of the
/// interface that was asked, and does not name the VIP when it asks itself. Set on `lo` they do nothing; the kernel
/// takes the larger of `all` and the interface's own.
const SILENCE: [(&str, u32); 2] = [
    ("net/ipv4/conf/all/arp_ignore", 1),
    ("net/ipv4/conf/all/arp_announce", 2),
];

/// Who holds which VIPs.
pub struct Presence {
    file: PathBuf,
    state: State,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct State {
    holders: BTreeMap<String, BTreeSet<IpAddr>>,
    /// What a sysctl was before we raised it.
    before: BTreeMap<String, u32>,
}

impl State {
    fn held(&self) -> BTreeSet<IpAddr> {
        self.holders.values().flatten().copied().collect()
    }
}

impl Presence {
    /// As the file tells, if there is one.
    pub fn open(place: &Place) -> anyhow::Result<Presence> {
        Presence::at(place.file("vips"))
    }

    fn at(file: PathBuf) -> anyhow::Result<Presence> {
        let state = match fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            text => {
                let damaged = || format!("{} is damaged", file.display());
                serde_json::from_str(&text.with_context(damaged)?).with_context(damaged)?
            }
        };
        Ok(Presence { file, state })
    }

    /// The VIPs that `role` holds.
    pub fn held_by(&self, role: Role) -> Vec<IpAddr> {
        let held = self.state.holders.get(role.name());
        held.into_iter().flatten().copied().collect()
    }

    /// From now on `role` holds these, in place of those it held before; none is how it lets go.
    pub fn hold(&mut self, role: Role, vips: &[Addr]) -> anyhow::Result<()> {
        let before = self.state.held();
        let mut after = self.state.clone();
        let vips: BTreeSet<IpAddr> = vips.iter().copied().map(IpAddr::from).collect();
        after.holders.insert(role.name().to_owned(), vips);
        after.holders.retain(|_, vips| !vips.is_empty());
        let wanted = after.held();

        // What is to be undone must be on record before it is done.
        let mut during = after.clone();
        let leaving: BTreeSet<IpAddr> = before.difference(&wanted).copied().collect();
        if !leaving.is_empty() {
            during.holders.insert("leaving".to_owned(), leaving.clone());
        }
        let silent = wanted.iter().any(IpAddr::is_ipv4);
        if silent {
            note_silence(&mut during)?;
        }
        self.write(during)?;

        for vip in &leaving {
            drop(on_loopback(*vip)?);
        }
        self.set_silence(silent)?;
        for vip in &wanted {
            let address = on_loopback(*vip)?;
            if address.origin() == Origin::Foreign && !before.contains(vip) {
                tracing::info!("{vip} is on {LOOPBACK} already and will stay there");
            }
            address.leave();
        }
        let mut done = self.state.clone();
        done.holders = after.holders;
        if !silent {
            done.before.clear();
        }
        self.write(done)
    }

    fn set_silence(&self, silent: bool) -> anyhow::Result<()> {
        for (key, quiet) in SILENCE {
            let Some(before) = self.state.before.get(key) else {
                continue;
            };
            match silent {
                true if read_sysctl(key)? < quiet => write_sysctl(key, quiet)?,
                // Somebody else's later wish stays.
                false if read_sysctl(key)? == quiet => write_sysctl(key, *before)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, state: State) -> anyhow::Result<()> {
        let named = || format!("cannot write {}", self.file.display());
        if state.holders.is_empty() && state.before.is_empty() {
            match fs::remove_file(&self.file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(named);
                }
                _ => {}
            }
        } else {
            let text = serde_json::to_string(&state).with_context(named)?;
            // Under another name first, so that it is never seen half written.
            let draft = self.file.with_extension("new");
            fs::write(&draft, text).with_context(named)?;
            fs::rename(&draft, &self.file).with_context(named)?;
        }
        self.state = state;
        Ok(())
    }
}

/// Puts down what the sysctls are that we are about to raise.
fn note_silence(state: &mut State) -> anyhow::Result<()> {
    for (key, quiet) in SILENCE {
        let now = read_sysctl(key)?;
        if now < quiet {
            state.before.insert(key.to_owned(), now);
        }
    }
    Ok(())
}

fn on_loopback(vip: IpAddr) -> anyhow::Result<AddedAddress> {
    Ok(AddedAddress::with_mark(LOOPBACK, vip.into(), AGENT)?)
}

fn read_sysctl(key: &str) -> anyhow::Result<u32> {
    let path = Path::new("/proc/sys").join(key);
    let text = fs::read_to_string(&path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    text.trim()
        .parse()
        .with_context(|| format!("{} is no number", path.display()))
}

fn write_sysctl(key: &str, value: u32) -> anyhow::Result<()> {
    let path = Path::new("/proc/sys").join(key);
    fs::write(&path, value.to_string())
        .with_context(|| format!("cannot write {value} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use lb_testkit::netns::{Namespace, Scratch, available};

    use super::*;

    const VIP: Addr = Addr::v4([10, 0, 0, 100]);
    const OTHER: Addr = Addr::v4([10, 0, 0, 101]);
    const VIP6: Addr = Addr::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);

    fn addresses(namespace: &Namespace) -> String {
        namespace
            .ip("-oneline address show dev lo")
            .expect("addresses")
    }

    #[test]
    fn what_is_held_by_two_stays_until_both_let_go_and_then_all_is_as_before() {
        if !available() {
            return;
        }
        let namespace = Namespace::new("server").expect("a namespace");
        let scratch = Scratch::new().expect("a folder");
        namespace
            .sysctl("net/ipv4/conf/all/arp_announce", "1")
            .expect("a sysctl");
        namespace
            .ip("address add 10.0.0.101/32 dev lo")
            .expect("an address");
        let before = addresses(&namespace);
        let sysctls =
            || namespace.run(|| SILENCE.map(|(key, _)| read_sysctl(key).expect("a sysctl")));
        // Each step as a process of its own would do it.
        let hold = |role, vips: &[Addr]| {
            let open = || Presence::at(scratch.path().join("vips"));
            namespace
                .run(|| open()?.hold(role, vips))
                .expect("it can be held");
        };
        assert_eq!(sysctls(), [0, 1]);
        hold(Role::Dr, &[VIP, OTHER, VIP6]);
        hold(Role::Tun, &[VIP]);
        assert_eq!(sysctls(), [1, 2]);
        for held in ["10.0.0.100/32", "10.0.0.101/32", "2001:db8::100/128"] {
            assert!(addresses(&namespace).contains(held), "{held}");
        }
        hold(Role::Dr, &[]);
        assert!(addresses(&namespace).contains("10.0.0.100/32"));
        assert!(!addresses(&namespace).contains("2001:db8::100"));
        assert_eq!(sysctls(), [1, 2]);
        hold(Role::Tun, &[]);
        assert_eq!(sysctls(), [0, 1]);
        assert_eq!(addresses(&namespace), before);
        assert!(!scratch.path().join("vips").exists());
    }
}
