//! Whether the machine can balance at all, and how well.

use super::facts::{Facts, Machine};
use super::finding::Finding;
use crate::rights;

const ABOUT: &str = "machine";

/// AF_XDP sockets of several queues and devices share packet memory since this version.
const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// All that is to be said of the machine.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let machine = &facts.machine;
    let mut findings = vec![
        kernel(machine),
        af_xdp(machine),
        privileges(machine),
        compiler(machine),
        tun(machine),
        reverse_path(machine),
        cpus(facts),
        bpf_file_system(machine),
    ];
    findings.extend(forwarding(facts));
    findings
}

fn kernel(machine: &Machine) -> Finding {
    let (check, text) = ("kernel", format!("Linux {}", machine.kernel));
    let (major, minor) = OLDEST_KERNEL;
    match machine.kernel_version() {
        Some(version) if version >= OLDEST_KERNEL => Finding::ok(ABOUT, check, text),
        Some(_) => Finding::problem(
            ABOUT,
            check,
            format!("{text}: sockets share packet memory since {major}.{minor}"),
        )
        .mend("apt install linux-image-amd64"),
        None => Finding::unseen(ABOUT, check, format!("{text}: no version that is known")),
    }
}

fn af_xdp(machine: &Machine) -> Finding {
    let check = "af_xdp";
    match machine.af_xdp {
        Some(true) => Finding::ok(ABOUT, check, "the kernel knows AF_XDP"),
        Some(false) => Finding::problem(
            ABOUT,
            check,
            "this kernel was built without AF_XDP (CONFIG_XDP_SOCKETS)",
        )
        .mend("apt install linux-image-amd64"),
        None => Finding::unseen(
            ABOUT,
            check,
            "whether the kernel knows AF_XDP: needs CAP_NET_RAW",
        ),
    }
}

fn privileges(machine: &Machine) -> Finding {
    let check = "privileges";
    let Some(held) = machine.capabilities else {
        return Finding::unseen(ABOUT, check, "this process's capabilities");
    };
    let lacking = rights::lacking(held);
    if lacking.is_empty() {
        return Finding::ok(ABOUT, check, "this user may balance");
    }
    let text = format!("this user may not balance: lacks {}", lacking.join(", "));
    Finding::problem(ABOUT, check, text).mend("sudo lbd run, or: systemctl start lbd")
}

fn compiler(machine: &Machine) -> Finding {
    let check = "bpf_jit";
    match machine.compiles_bpf {
        Some(true) => Finding::ok(ABOUT, check, "the kernel compiles BPF programs"),
        Some(false) => Finding::advice(
            ABOUT,
            check,
            "the kernel interprets the XDP program, several times slower than if it compiled it",
        )
        .mend("sysctl -w net.core.bpf_jit_enable=1"),
        None => Finding::unseen(ABOUT, check, "whether the kernel compiles BPF programs"),
    }
}

fn tun(machine: &Machine) -> Finding {
    let check = "tap";
    match machine.has_tun {
        true => Finding::ok(ABOUT, check, "/dev/net/tun is there"),
        false => Finding::problem(
            ABOUT,
            check,
            "no /dev/net/tun: packets that turn out not to be ours cannot go back to the kernel, and are dropped",
        )
        .mend("modprobe tun"),
    }
}

/// What lbd hands back came in elsewhere than out of its tap device, which a strict check of sources does not believe.
fn reverse_path(machine: &Machine) -> Finding {
    let check = "reverse_path";
    let is_strict = |own: u8| machine.reverse_path.map(|all| all.max(own) == 1);
    let strict = machine.ways_back.iter();
    let strict = strict.filter(|way| is_strict(way.reverse_path) == Some(true));
    match (strict.map(|way| &way.name).next(), is_strict(0)) {
        (Some(name), _) => {
            let text = format!(
                "{name} checks sources strictly: what lbd hands back to the kernel is dropped there"
            );
            Finding::problem(ABOUT, check, text)
                .mend(format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2"))
        }
        (None, Some(true)) => {
            let text = "the kernel checks sources strictly; lbd excepts what it hands back";
            Finding::ok(ABOUT, check, text)
        }
        (None, Some(false)) => {
            Finding::ok(ABOUT, check, "no strict check of sources is in the way")
        }
        (None, None) => Finding::unseen(ABOUT, check, "net.ipv4.conf.all.rp_filter"),
    }
}

fn cpus(facts: &Facts) -> Finding {
    let check = "cpus";
    let (cpus, workers) = (facts.machine.cpus, facts.workers());
    let text = format!("workers: {workers}, CPUs for them: {cpus}");
    match workers as usize <= cpus {
        true if workers as usize == cpus && facts.wanted.sockets.busy_poll => Finding::advice(
            ABOUT,
            check,
            text + "; workers that never sleep leave none to the kernel and the rest of the machine",
        )
        .mend("fewer engine.workers, or engine.busy_poll = false"),
        true => Finding::ok(ABOUT, check, text),
        false => Finding::advice(
            ABOUT,
            check,
            text + "; workers that share a CPU wait for each other",
        )
        .mend(format!("engine.workers = {cpus} in the configuration")),
    }
}

fn bpf_file_system(machine: &Machine) -> Finding {
    let check = "bpffs";
    match machine.bpf_file_system {
        true => Finding::ok(ABOUT, check, "a bpffs is mounted"),
        false => Finding::advice(
            ABOUT,
            check,
            "no bpffs at /sys/fs/bpf: lbd does without, lbrs on real servers does not",
        )
        .mend("mount -t bpf bpf /sys/fs/bpf"),
    }
}

/// Servers of mode nat reach everything else through us, which is the kernel's work.
fn forwarding(facts: &Facts) -> Vec<Finding> {
    let (v4, v6) = facts.machine.forwards;
    let (for_v4, for_v6) = facts.wanted.routes_for;
    [
        (for_v4, v4, "IPv4", "net.ipv4.ip_forward"),
        (for_v6, v6, "IPv6", "net.ipv6.conf.all.forwarding"),
    ]
    .into_iter()
    .filter(|(is_wanted, ..)| *is_wanted)
    .map(|(_, forwards, family, key)| match forwards {
        Some(true) => Finding::ok(ABOUT, "forwarding", format!("the kernel forwards {family}")),
        Some(false) => Finding::advice(
            ABOUT,
            "forwarding",
            format!(
                "the kernel does not forward {family}: balanced conns work, but the servers of mode nat, whose router \
                 this is, reach nothing else"
            ),
        )
        .mend(format!("sysctl -w {key}=1")),
        None => Finding::unseen(ABOUT, "forwarding", key),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use rustix::thread::CapabilitySet;

    use super::*;
    use crate::doctor::facts::WayBack;
    use crate::doctor::facts::tests::{Fault, faults, healthy};
    use crate::doctor::finding::Verdict;

    fn found(change: impl FnOnce(&mut Facts)) -> Vec<Fault> {
        faults(change, findings)
    }

    #[track_caller]
    fn finds(
        (check, verdict, fix): (&'static str, Verdict, &str),
        change: impl FnOnce(&mut Facts),
    ) {
        let fix = (!fix.is_empty()).then(|| fix.to_owned());
        assert_eq!(found(change), [(check, verdict, fix)]);
    }

    #[test]
    fn a_healthy_machine_has_nothing() {
        assert_eq!(found(|_| ()), []);
    }

    #[test]
    fn each_fault_is_found_alone_with_what_mends_it() {
        use Verdict::{Advice, Problem, Unseen};
        finds(("kernel", Problem, "apt install linux-image-amd64"), |f| {
            f.machine.kernel = "5.4.0".to_owned();
        });
        finds(("kernel", Unseen, ""), |f| f.machine.kernel.clear());
        finds(("af_xdp", Problem, "apt install linux-image-amd64"), |f| {
            f.machine.af_xdp = Some(false);
        });
        finds(("af_xdp", Unseen, ""), |f| f.machine.af_xdp = None);
        finds(
            ("bpf_jit", Advice, "sysctl -w net.core.bpf_jit_enable=1"),
            |f| {
                f.machine.compiles_bpf = Some(false);
            },
        );
        finds(("tap", Problem, "modprobe tun"), |f| {
            f.machine.has_tun = false
        });
        finds(("reverse_path", Unseen, ""), |f| {
            f.machine.reverse_path = None;
        });
        finds(
            ("cpus", Advice, "engine.workers = 1 in the configuration"),
            |f| f.machine.cpus = 1,
        );
        finds(("bpffs", Advice, "mount -t bpf bpf /sys/fs/bpf"), |f| {
            f.machine.bpf_file_system = false;
        });
        finds(
            ("forwarding", Advice, "sysctl -w net.ipv4.ip_forward=1"),
            |f| {
                f.machine.forwards.0 = Some(false);
            },
        );
        finds(
            (
                "forwarding",
                Advice,
                "sysctl -w net.ipv6.conf.all.forwarding=1",
            ),
            |f| {
                f.machine.forwards.1 = Some(false);
            },
        );
    }

    #[test]
    fn a_strict_check_of_sources_matters_on_the_way_back() {
        let way = |reverse_path| WayBack {
            name: "lbd0".to_owned(),
            reverse_path,
        };
        for (all, own, is_fault) in [(1, 2, false), (2, 1, false), (1, 0, true), (0, 1, true)] {
            let found = found(|facts| {
                facts.machine.reverse_path = Some(all);
                facts.machine.ways_back = vec![way(own)];
            });
            let fix = "sysctl -w net.ipv4.conf.lbd0.rp_filter=2".to_owned();
            let fault = ("reverse_path", Verdict::Problem, Some(fix));
            let expected: Vec<Fault> = is_fault.then_some(fault).into_iter().collect();
            assert_eq!(found, expected, "all {all}, its own {own}");
        }
    }

    #[test]
    fn rights_that_lack_are_named() {
        let mut facts = healthy();
        facts.machine.capabilities = Some(CapabilitySet::NET_ADMIN);
        let finding = privileges(&facts.machine);
        assert_eq!(finding.verdict, Verdict::Problem);
        assert!(
            finding.text.ends_with("lacks CAP_NET_RAW, CAP_BPF"),
            "{finding:?}"
        );
    }

    #[test]
    fn forwarding_matters_only_where_servers_route_through_us() {
        let found = found(|facts| {
            facts.machine.forwards = (Some(false), Some(false));
            facts.wanted.routes_for = (false, false);
        });
        assert_eq!(found, []);
    }
}
