//! What the kernel must allow us before there is any use in starting.

use anyhow::{Context, bail};
use rustix::thread::{CapabilitySet, capabilities};

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
    let held = capabilities(None).context("cannot read this process's capabilities")?;
    let lacking = lacking(held.effective);
    if !lacking.is_empty() {
        bail!(
            "balancing needs root, or the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF; this process lacks \
             {} (`lbd check` needs none)",
            lacking.join(", ")
        );
    }
    Ok(())
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
}
