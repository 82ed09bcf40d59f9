//! What the kernel must be and allow before there is any use in starting.

use anyhow::{Context, bail};
use rustix::system::uname;
use rustix::thread::{CapabilitySet, capabilities};

use lbrs::plan::Role;

/// What a role takes, and the older, wider right that included it before Linux 5.8.
const NEEDED: [(&str, CapabilitySet, CapabilitySet); 3] = [
    // Attaching, addresses, sysctls.
    (
        "CAP_NET_ADMIN",
        CapabilitySet::NET_ADMIN,
        CapabilitySet::NET_ADMIN,
    ),
    // Loading programs and making maps.
    ("CAP_BPF", CapabilitySet::BPF, CapabilitySet::SYS_ADMIN),
    // Programs that read the kernel's sockets, or their own stack at a place known only when they run.
    (
        "CAP_PERFMON",
        CapabilitySet::PERFMON,
        CapabilitySet::SYS_ADMIN,
    ),
];

/// An error that names what this process, or this kernel, lacks for `roles`.
pub fn require(roles: &[Role]) -> anyhow::Result<()> {
    let held = capabilities(None).context("cannot read this process's capabilities")?;
    let release = uname().release().to_string_lossy().into_owned();
    for role in roles {
        if let Some(complaint) = lacking(*role, held.effective, &release) {
            bail!("{complaint}");
        }
    }
    Ok(())
}

fn lacking(role: Role, held: CapabilitySet, release: &str) -> Option<String> {
    // Without programs only the first is needed.
    let needed = if role.has_programs() {
        &NEEDED[..]
    } else {
        &NEEDED[..1]
    };
    let lacks =
        |(_, one, other): &&(_, CapabilitySet, CapabilitySet)| !held.intersects(*one | *other);
    let name = |(name, ..): &(&'static str, _, _)| *name;
    let lacking: Vec<&str> = needed.iter().filter(lacks).map(name).collect();
    if !lacking.is_empty() {
        let all: Vec<&str> = needed.iter().map(name).collect();
        return Some(format!(
            "`{role}` needs root, or the capabilities {}; this process lacks {}",
            all.join(", "),
            lacking.join(", ")
        ));
    }
    let ((major, minor), what) = role.kernel();
    if version(release).is_some_and(|running| running < (major, minor)) {
        return Some(format!(
            "`{role}` needs Linux {major}.{minor} or later ({what}); this is {release}"
        ));
    }
    None
}

/// Major and minor version; a kernel with another kind of name is believed to be new enough.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named() {
        let said = lacking(Role::Tun, CapabilitySet::NET_ADMIN, "6.18.0").unwrap_or_default();
        assert!(said.ends_with("lacks CAP_BPF, CAP_PERFMON"), "{said}");
        let enough = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
        assert_eq!(lacking(Role::Tun, enough, "6.6.0-1-amd64"), None);
        assert_eq!(lacking(Role::Dr, CapabilitySet::NET_ADMIN, "6.6"), None);
        let said = lacking(Role::Dr, CapabilitySet::empty(), "6.6").unwrap_or_default();
        assert!(said.contains("CAP_NET_ADMIN"), "{said}");
    }

    #[test]
    fn an_old_kernel_is_told_what_it_misses() {
        let all = CapabilitySet::all();
        let said = lacking(Role::Tun, all, "5.15.0-91-generic").unwrap_or_default();
        assert!(
            said.contains("Linux 6.6") && said.contains("5.15.0-91-generic"),
            "{said}"
        );
        assert_eq!(lacking(Role::Tun, all, "10.0"), None);
        assert_eq!(lacking(Role::Tun, all, "custom"), None);
    }
}
