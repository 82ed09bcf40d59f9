//! Whether an interface can carry AF_XDP sockets, and how well.

use lb::Workers;
use lb::live::DeviceState;

use super::facts::{Deferral, Facts, InterfaceFacts, Interrupt};
use super::finding::Finding;

/// Drivers tell what they can do with XDP since this version.
const FEATURES_TOLD: (u32, u32) = (6, 3);

/// All that is to be said of an interface.
pub fn findings(interface: &InterfaceFacts, facts: &Facts) -> Vec<Finding> {
    let name = interface.name.as_str();
    let device = match &interface.device {
        Ok(device) => device,
        Err(why) => {
            let finding = Finding::problem(name, "device", format!("no such interface: {why}"));
            return vec![finding.mend("ip link show")];
        }
    };
    let mut findings = vec![
        state(name, device),
        mtu(name, device, facts),
        queues(name, device, facts),
        program(name, device),
    ];
    findings.extend(driver(name, device, facts));
    findings.extend(offloads(name, device));
    findings.extend(interrupts(name, device, interface.interrupts.as_deref()));
    if facts.wanted.sockets.busy_poll {
        findings.push(busy_poll(name, device, interface.deferral));
    }
    findings
}

/// Only a device that is bound in zero-copy mode is polled; it should be quiet meanwhile.
fn busy_poll(name: &str, device: &DeviceState, deferral: Option<Deferral>) -> Finding {
    let check = "busy_poll";
    if !device.xdp.zero_copy {
        let text = "busy polling of the rings: in copy mode the kernel polls no device";
        return Finding::ok(name, check, text);
    }
    match deferral {
        None => Finding::unseen(
            name,
            check,
            "whether interrupts are deferred while it is polled",
        ),
        Some(Deferral {
            interrupts: 1..,
            nanoseconds: 1..,
        }) => Finding::ok(name, check, "interrupts are deferred while it is polled"),
        Some(_) => Finding::advice(
            name,
            check,
            "it interrupts although it is polled, and its packets go another way then",
        )
        .mend(format!(
            "echo 2 > /sys/class/net/{name}/napi_defer_hard_irqs; \
             echo 200000 > /sys/class/net/{name}/gro_flush_timeout"
        )),
    }
}

fn state(name: &str, device: &DeviceState) -> Finding {
    match device.is_up {
        true => Finding::ok(name, "device", "up"),
        false => {
            Finding::problem(name, "device", "down").mend(format!("ip link set dev {name} up"))
        }
    }
}

fn mtu(name: &str, device: &DeviceState, facts: &Facts) -> Finding {
    let (mtu, largest) = (device.mtu, facts.wanted.sockets.largest_mtu());
    match mtu <= largest {
        true => Finding::ok(name, "mtu", format!("MTU {mtu}")),
        false => {
            let text = format!("MTU {mtu}: a frame of packet memory holds packets up to {largest}");
            Finding::problem(name, "mtu", text)
                .mend(format!("ip link set dev {name} mtu {largest}"))
        }
    }
}

fn queues(name: &str, device: &DeviceState, facts: &Facts) -> Finding {
    let (receive, transmit, most) = (
        device.receive_queues,
        device.transmit_queues,
        device.most_queues,
    );
    let check = "queues";
    if transmit < receive {
        let text = format!("{receive} receive queues, but {transmit} to send from");
        return Finding::problem(name, check, text)
            .mend(format!("ethtool -L {name} rx {transmit} tx {transmit}"));
    }
    if let Workers::Count(workers) = facts.wanted.workers
        && u32::from(workers) > receive
    {
        let text = format!("{receive} queues for {workers} workers, each of which needs one");
        let mend = match u32::from(workers) <= most {
            true => format!("ethtool -L {name} combined {workers}"),
            false => format!("engine.workers = {receive} in the configuration"),
        };
        return Finding::problem(name, check, text).mend(mend);
    }
    let text = format!("queues: {receive}, of {most}");
    let useful = most.min(u32::try_from(facts.machine.cpus).unwrap_or(u32::MAX));
    match receive < useful && facts.wanted.workers == Workers::Auto {
        true => Finding::advice(name, check, text + ", and there are CPUs for more workers")
            .mend(format!("ethtool -L {name} combined {useful}")),
        false => Finding::ok(name, check, text),
    }
}

fn program(name: &str, device: &DeviceState) -> Finding {
    let check = "xdp_program";
    match &device.xdp.program {
        None => Finding::ok(name, check, "no XDP program is attached"),
        Some(program) if program.is_steering() => {
            let text = format!("an lbd is at work here: XDP program {}", program.id);
            Finding::ok(name, check, text)
        }
        Some(program) => {
            let called = match &program.name {
                Some(name) => format!(" ({name})"),
                None => String::new(),
            };
            let text = format!(
                "another XDP program is attached, {}{called}: there is room for one",
                program.id
            );
            Finding::problem(name, check, text).mend(format!("ip link set dev {name} xdp off"))
        }
    }
}

fn driver(name: &str, device: &DeviceState, facts: &Facts) -> Vec<Finding> {
    let driver = device.driver.as_deref().unwrap_or("without a name");
    match facts.machine.kernel_version() {
        Some(version) if version >= FEATURES_TOLD => {}
        _ => {
            let text = format!("driver {driver}: before Linux 6.3 none says what XDP it can do");
            return vec![Finding::unseen(name, "xdp", text)];
        }
    }
    let native = match device.xdp.native {
        true => Finding::ok(name, "xdp", format!("driver {driver}: native XDP")),
        false => Finding::advice(
            name,
            "xdp",
            format!(
                "driver {driver}: no native XDP as it is set up now; generic XDP does, and takes the kernel longer for \
                 each packet"
            ),
        ),
    };
    let zero_copy = match (device.xdp.zero_copy, driver) {
        (true, _) => Finding::ok(name, "zero_copy", format!("driver {driver}: zero-copy")),
        // There is nothing to copy into but the other end.
        (false, "veth") => Finding::ok(name, "zero_copy", "copy mode, as on every veth"),
        (false, _) => Finding::advice(
            name,
            "zero_copy",
            format!("driver {driver}: no zero-copy, the kernel copies each packet"),
        ),
    };
    vec![native, zero_copy]
}

/// Offloads that AF_XDP cannot live with: how the kernel calls each, how `ethtool -K` does, and what it does to us.
const HARMFUL: [(&str, &str, &str); 3] = [
    (
        "rx-lro",
        "lro",
        "the device makes one packet of several, which fits no frame",
    ),
    (
        "rx-gro-hw",
        "rx-gro-hw",
        "the device makes one packet of several, and refuses native XDP meanwhile",
    ),
    (
        "rx-vlan-hw-parse",
        "rxvlan",
        "the device takes VLAN tags off before XDP sees them, so tagged packets lose theirs",
    ),
];

fn offloads(name: &str, device: &DeviceState) -> Vec<Finding> {
    let harmful: Vec<Finding> = HARMFUL
        .iter()
        .filter_map(|(kernel, ethtool, harm)| {
            let offload = device.offloads.get(*kernel).filter(|o| o.is_on)?;
            let text = format!("{kernel} is on: {harm}");
            // veth has no hardware to take tags off: its tags travel beside the packet, and XDP puts them back.
            if device.driver.as_deref() == Some("veth") {
                return None;
            }
            Some(match offload.can_change {
                true => Finding::problem(name, "offloads", text)
                    .mend(format!("ethtool -K {name} {ethtool} off")),
                false => Finding::advice(
                    name,
                    "offloads",
                    text + "; the driver does not let it be changed",
                ),
            })
        })
        .collect();
    match harmful.is_empty() {
        true => vec![Finding::ok(
            name,
            "offloads",
            "no offload that harms AF_XDP",
        )],
        false => harmful,
    }
}

/// Interrupts that do not bring packets.
const OTHER_INTERRUPTS: [&str; 4] = ["config", "async", "misc", "control"];

fn interrupts(
    name: &str,
    device: &DeviceState,
    interrupts: Option<&[Interrupt]>,
) -> Option<Finding> {
    let check = "interrupts";
    let of_queues: Vec<&Interrupt> = interrupts?
        .iter()
        .filter(|interrupt| !OTHER_INTERRUPTS.iter().any(|o| interrupt.name.contains(o)))
        .collect();
    let first = of_queues.first()?;
    let is_one_cpu = first.cpus.parse::<u32>().is_ok();
    let together = of_queues.iter().all(|other| other.cpus == first.cpus);
    if device.receive_queues < 2 || !is_one_cpu || !together {
        return Some(Finding::ok(name, check, "queues' interrupts are spread"));
    }
    let text = format!(
        "all queues interrupt CPU {}, which becomes the limit",
        first.cpus
    );
    let other = u32::from(first.cpus == "0");
    Some(Finding::advice(name, check, text).mend(format!(
        "echo {other} > /proc/irq/{}/smp_affinity_list, and so on",
        of_queues[of_queues.len() - 1].number
    )))
}

#[cfg(test)]
mod tests {
    use lb::live::{AttachedProgram, Offload};

    use super::*;
    use crate::doctor::facts::tests::{Fault, faults};
    use crate::doctor::finding::Verdict;

    fn found(change: impl FnOnce(&mut Facts)) -> Vec<Fault> {
        faults(change, |facts| findings(&facts.interfaces[0], facts))
    }

    #[track_caller]
    fn finds(
        (check, verdict, fix): (&'static str, Verdict, &str),
        change: impl FnOnce(&mut DeviceState),
    ) {
        let fix = (!fix.is_empty()).then(|| fix.to_owned());
        let change = |facts: &mut Facts| {
            change(facts.interfaces[0].device.as_mut().expect("healthy"));
        };
        assert_eq!(found(change), [(check, verdict, fix)]);
    }

    fn on(can_change: bool) -> Offload {
        Offload {
            is_on: true,
            can_change,
        }
    }

    #[test]
    fn a_healthy_interface_has_nothing() {
        assert_eq!(found(|_| ()), []);
    }

    #[test]
    fn each_fault_is_found_alone_with_what_mends_it() {
        use Verdict::{Advice, Problem};
        finds(("device", Problem, "ip link set dev eth0 up"), |d| {
            d.is_up = false
        });
        finds(("mtu", Problem, "ip link set dev eth0 mtu 1774"), |d| {
            d.mtu = 9000
        });
        finds(("queues", Problem, "ethtool -L eth0 rx 1 tx 1"), |d| {
            d.transmit_queues = 1
        });
        finds(("queues", Advice, "ethtool -L eth0 combined 2"), |d| {
            (d.receive_queues, d.transmit_queues, d.most_queues) = (1, 1, 16);
        });
        finds(("xdp", Advice, ""), |d| d.xdp.native = false);
        finds(("zero_copy", Advice, ""), |d| d.xdp.zero_copy = false);
        finds(
            ("xdp_program", Problem, "ip link set dev eth0 xdp off"),
            |d| {
                d.xdp.program = Some(AttachedProgram {
                    id: 7,
                    name: Some("xdp_firewall".to_owned()),
                });
            },
        );
        for (kernel, fix) in [
            ("rx-lro", "ethtool -K eth0 lro off"),
            ("rx-gro-hw", "ethtool -K eth0 rx-gro-hw off"),
            ("rx-vlan-hw-parse", "ethtool -K eth0 rxvlan off"),
        ] {
            finds(("offloads", Problem, fix), |d| {
                d.offloads.insert(kernel.to_owned(), on(true));
            });
        }
        finds(("offloads", Advice, ""), |d| {
            d.offloads.insert("rx-gro-hw".to_owned(), on(false));
        });
    }

    #[test]
    fn our_own_program_is_no_other() {
        let ours = |facts: &mut Facts| {
            let device = facts.interfaces[0].device.as_mut().expect("healthy");
            device.xdp.program = Some(AttachedProgram {
                id: 7,
                name: Some("steer".to_owned()),
            });
        };
        assert_eq!(found(ours), []);
    }

    #[test]
    fn more_workers_than_queues_are_found_with_what_there_is() {
        let fix = |most| {
            let found = found(|facts| {
                facts.wanted.workers = Workers::Count(4);
                facts.machine.cpus = 8;
                facts.interfaces[0]
                    .device
                    .as_mut()
                    .expect("healthy")
                    .most_queues = most;
            });
            let (check, verdict, fix) = found[0].clone();
            assert_eq!(
                (found.len(), check, verdict),
                (1, "queues", Verdict::Problem)
            );
            fix.expect("a command")
        };
        assert_eq!(fix(8), "ethtool -L eth0 combined 4");
        assert_eq!(fix(2), "engine.workers = 2 in the configuration");
    }

    #[test]
    fn queues_that_all_interrupt_one_cpu_are_found() {
        let one = |facts: &mut Facts| {
            for interrupt in facts.interfaces[0].interrupts.as_mut().expect("healthy") {
                interrupt.cpus = "0".to_owned();
            }
        };
        let fix = "echo 1 > /proc/irq/41/smp_affinity_list, and so on".to_owned();
        assert_eq!(found(one), [("interrupts", Verdict::Advice, Some(fix))]);
        assert_eq!(found(|facts| facts.interfaces[0].interrupts = None), []);
    }

    #[test]
    fn a_polled_device_that_interrupts_all_the_same_is_found() {
        let polled = |deferral: Option<(u32, u64)>, zero_copy| {
            found(|facts| {
                facts.wanted.sockets.busy_poll = true;
                let interface = &mut facts.interfaces[0];
                interface.deferral = deferral.map(|(interrupts, nanoseconds)| Deferral {
                    interrupts,
                    nanoseconds,
                });
                let device = interface.device.as_mut().expect("healthy");
                device.xdp.zero_copy = zero_copy;
                device.driver = Some("veth".to_owned());
            })
        };
        let fix = "echo 2 > /sys/class/net/eth0/napi_defer_hard_irqs; \
                   echo 200000 > /sys/class/net/eth0/gro_flush_timeout";
        let advice = [("busy_poll", Verdict::Advice, Some(fix.to_owned()))];
        assert_eq!(polled(Some((2, 200_000)), true), []);
        assert_eq!(polled(Some((0, 200_000)), true), advice);
        assert_eq!(polled(Some((2, 0)), true), advice);
        assert_eq!(polled(None, true), [("busy_poll", Verdict::Unseen, None)]);
        assert_eq!(polled(Some((0, 0)), false), []);
    }

    #[test]
    fn an_old_kernel_tells_nothing_of_xdp_and_a_missing_interface_nothing_at_all() {
        let old = |facts: &mut Facts| facts.machine.kernel = "5.15.0".to_owned();
        assert_eq!(found(old), [("xdp", Verdict::Unseen, None)]);
        let missing = |facts: &mut Facts| facts.interfaces[0].device = Err("no".to_owned());
        let fix = Some("ip link show".to_owned());
        assert_eq!(found(missing), [("device", Verdict::Problem, fix)]);
    }
}
