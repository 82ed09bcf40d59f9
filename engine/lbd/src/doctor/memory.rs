//! Whether there is the memory that lbd takes, and of the kind that it wants.

use rustix::thread::CapabilitySet;

use super::facts::{Facts, HugePages, LockedMemory, Machine, Pool};
use super::finding::Finding;

const ABOUT: &str = "machine";

/// All that is to be said of the machine's memory.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let machine = &facts.machine;
    let mut findings = vec![locked_memory(facts), memory(facts), huge_pages(machine)];
    findings.extend(hugetlb(machine));
    findings
}

fn locked_memory(facts: &Facts) -> Finding {
    let check = "locked_memory";
    let held = facts.machine.capabilities.unwrap_or(CapabilitySet::empty());
    let wanted = facts.wanted.sockets.packet_memory(facts.queues());
    match facts.machine.locked_memory {
        LockedMemory::Unlimited => Finding::ok(ABOUT, check, "locked memory is not limited"),
        LockedMemory::Bytes(_) if held.contains(CapabilitySet::IPC_LOCK) => Finding::ok(
            ABOUT,
            check,
            "the limit on locked memory does not count with CAP_IPC_LOCK",
        ),
        LockedMemory::Bytes(limit) if limit >= wanted => {
            let text = format!("{} of locked memory are allowed", mebibytes(limit));
            Finding::ok(ABOUT, check, text)
        }
        LockedMemory::Bytes(limit) => {
            let text = format!(
                "{} of locked memory are allowed, packets take {}",
                mebibytes(limit),
                mebibytes(wanted)
            );
            Finding::problem(ABOUT, check, text)
                .mend("ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit")
        }
    }
}

fn memory(facts: &Facts) -> Finding {
    let check = "memory";
    let (workers, capacity) = (facts.workers(), facts.wanted.capacity);
    let conns = lb::table_memory(workers, capacity);
    let packets = facts.wanted.sockets.packet_memory(facts.queues());
    let wanted = conns + packets;
    match facts.machine.available_memory {
        None => Finding::unseen(ABOUT, check, "how much memory there is"),
        Some(available) => {
            let text = format!(
                "lbd takes {}: {} for {workers} x {capacity} conns, {} for packets; {} are there",
                mebibytes(wanted),
                mebibytes(conns),
                mebibytes(packets),
                mebibytes(available)
            );
            match wanted <= available {
                true => Finding::ok(ABOUT, check, text),
                false => Finding::problem(ABOUT, check, text)
                    .mend("lower engine.capacity in the configuration"),
            }
        }
    }
}

/// The conn table asks for them under its memory.
fn huge_pages(machine: &Machine) -> Finding {
    let check = "huge_pages";
    let never = |word: &Option<String>| word.as_deref() == Some("never");
    let HugePages { given, made_free } = &machine.huge_pages;
    if given.is_none() {
        return Finding::unseen(ABOUT, check, "whether there are huge pages");
    }
    if never(given) {
        let text = "transparent huge pages are off: with many conns most look-ups wait for the page table as well";
        return Finding::advice(ABOUT, check, text)
            .mend("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    }
    if never(made_free) {
        let text = "the conn table gets huge pages only as far as some are free: the kernel moves nothing for them";
        return Finding::advice(ABOUT, check, text)
            .mend("echo madvise > /sys/kernel/mm/transparent_hugepage/defrag");
    }
    Finding::ok(ABOUT, check, "the conn table may have huge pages")
}

/// Set aside for programs of another kind, as DPDK's are.
fn hugetlb(machine: &Machine) -> Vec<Finding> {
    let check = "hugetlb";
    let idle = machine.hugetlb.iter().filter(|pool| pool.idle > 0);
    let idle = idle.map(|Pool { kibibytes, idle }| {
        let text = format!(
            "{} lie idle in huge pages that are set aside (hugetlb): lbd uses transparent ones, and not these",
            mebibytes((kibibytes * idle) << 10)
        );
        let all = format!("/sys/kernel/mm/hugepages/hugepages-{kibibytes}kB/nr_hugepages");
        Finding::advice(ABOUT, check, text)
            .mend(format!("echo 0 > {all}, unless another program waits for them"))
    });
    let idle: Vec<Finding> = idle.collect();
    match idle.is_empty() {
        true => vec![Finding::ok(
            ABOUT,
            check,
            "no memory is set aside that lbd cannot use",
        )],
        false => idle,
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::tests::{Fault, faults};
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
    fn each_fault_is_found_alone_with_what_mends_it() {
        use Verdict::{Advice, Problem, Unseen};
        assert_eq!(found(|_| ()), []);
        finds(
            (
                "locked_memory",
                Problem,
                "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit",
            ),
            |f| {
                let held = f.machine.capabilities.expect("healthy");
                f.machine.capabilities = Some(held - CapabilitySet::IPC_LOCK);
                f.machine.locked_memory = LockedMemory::Bytes(8 << 20);
            },
        );
        finds(
            (
                "memory",
                Problem,
                "lower engine.capacity in the configuration",
            ),
            |f| {
                f.wanted.capacity = 500_000_000;
            },
        );
        finds(
            (
                "huge_pages",
                Advice,
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
            ),
            |f| f.machine.huge_pages.given = Some("never".to_owned()),
        );
        finds(("huge_pages", Unseen, ""), |f| {
            f.machine.huge_pages.given = None;
        });
        finds(
            (
                "huge_pages",
                Advice,
                "echo madvise > /sys/kernel/mm/transparent_hugepage/defrag",
            ),
            |f| f.machine.huge_pages.made_free = Some("never".to_owned()),
        );
        finds(
            (
                "hugetlb",
                Advice,
                "echo 0 > /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages, unless another program waits for them",
            ),
            |f| f.machine.hugetlb[1].idle = 4,
        );
    }
}
