//! What the kernel must allow us before there is any use in starting.

use anyhow::{Context, bail};
use rustix::io;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// What balancing takes, and the older, wider right that included it before Linux 5.8.
const NEEDED: [(&str, CapabilitySet, CapabilitySet); 3] = [
    // Attaching to interfaces, VIPs, asking for neighbours.
    (
        "CAP_NET_ADMIN",
        CapabilitySet::NET_ADMIN,
        CapabilitySet::NET_ADMIN,
    ),
    // AF_XDP sockets.
    (
        "CAP_NET_RAW",
        CapabilitySet::NET_RAW,
        CapabilitySet::NET_RAW,
    ),
    // Loading the XDP program.
    ("CAP_BPF", CapabilitySet::BPF, CapabilitySet::SYS_ADMIN),
];

/// An error that names what this process lacks.
pub fn require() -> anyhow::Result<()> {
    let lacking = lacking(held()?);
    if !lacking.is_empty() {
        bail!(
            "balancing needs root, or the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF; this process lacks \
             {} (`lbd check` needs none)",
            lacking.join(", ")
        );
    }
    Ok(())
}

/// What is used beside that by a balancer at work: huge pages and pinned packet memory count against no limit.
const USED: CapabilitySet = CapabilitySet::IPC_LOCK;

/// What loading the XDP program takes so that the verifier leaves it as it is: without this one it puts barriers against
/// speculation into it.
const LOADING: CapabilitySet = CapabilitySet::PERFMON;

/// Gives up every right that balancing does not take, for the calling thread, for those that it starts from now on, and for
/// programs that they start; all of them, if nothing is balanced. To be called when there are no other threads yet.
pub fn give_up_unneeded(balances: bool) -> anyhow::Result<()> {
    let held = held()?;
    let keep = match balances {
        true => kept(held) | LOADING,
        false => CapabilitySet::empty(),
    };
    bound(held, keep).context("cannot give up rights")?;
    retain(keep)
}

/// Gives up what only the start took, for the calling thread and those that it starts from now on.
pub fn give_up_loading() -> anyhow::Result<()> {
    retain(!LOADING)
}

fn held() -> anyhow::Result<CapabilitySet> {
    let held = capabilities(None).context("cannot read this process's capabilities")?;
    Ok(held.permitted)
}

/// Of the rights that are `held`, those that balancing takes.
fn kept(held: CapabilitySet) -> CapabilitySet {
    let one_of = |(_, one, other): (&str, CapabilitySet, CapabilitySet)| match held.contains(one) {
        true => one,
        false => other,
    };
    let needed = NEEDED.into_iter().map(one_of);
    needed.fold(USED, |all, one| all | one) & held
}

/// A program of root's would have all of the bounding set again.
fn bound(held: CapabilitySet, keep: CapabilitySet) -> io::Result<()> {
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    if !held.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for capability in (CapabilitySet::all() - keep).iter() {
        // A kernel may not know all of them.
        if capability_is_in_bounding_set(capability).unwrap_or(false) {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    Ok(())
}

fn retain(keep: CapabilitySet) -> anyhow::Result<()> {
    let kept = held()? & keep;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).context("cannot give up rights")
}

/// What balancing takes beside the capabilities that are `held`.
pub fn lacking(held: CapabilitySet) -> Vec<&'static str> {
    let lacks =
        |(_, one, other): &&(_, CapabilitySet, CapabilitySet)| !held.intersects(*one | *other);
    NEEDED
        .iter()
        .filter(lacks)
        .map(|(name, ..)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named() {
        assert_eq!(
            lacking(CapabilitySet::empty()),
            ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"]
        );
        let network = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
        assert_eq!(lacking(network), ["CAP_BPF"]);
        assert!(lacking(network | CapabilitySet::SYS_ADMIN).is_empty());
        assert!(lacking(network | CapabilitySet::BPF).is_empty());
    }

    #[test]
    fn what_is_kept_is_what_balancing_takes() {
        let usual = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW | CapabilitySet::BPF;
        assert_eq!(kept(CapabilitySet::all()), usual | USED);
        let older = CapabilitySet::all() - CapabilitySet::BPF;
        assert!(kept(older).contains(CapabilitySet::SYS_ADMIN));
        assert_eq!(kept(CapabilitySet::CHOWN), CapabilitySet::empty());
    }
}
