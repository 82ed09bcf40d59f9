//! What a machine is like, as far as balancing goes. What could not be seen is `None`.

use lb::live::{DeviceState, XskConfig};
use lb::{Addr, Workers};
use rustix::thread::CapabilitySet;

/// Everything that is judged.
#[derive(Clone, Debug)]
pub struct Facts {
    pub machine: Machine,
    pub interfaces: Vec<InterfaceFacts>,
    pub wanted: Wanted,
    /// Each server's address, and whether the kernel has a way to it by one of the interfaces.
    pub servers: Vec<(Addr, Option<bool>)>,
}

/// The machine, or the container of it that this process is in.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Like `6.18.44-amd64`.
    pub kernel: String,
    pub capabilities: Option<CapabilitySet>,
    /// Whether the kernel knows AF_XDP.
    pub af_xdp: Option<bool>,
    pub locked_memory: LockedMemory,
    /// Whether the kernel compiles BPF programs.
    pub compiles_bpf: Option<bool>,
    /// Whether a bpffs is mounted where lbrs looks for it.
    pub bpf_file_system: bool,
    /// Whether there is `/dev/net/tun`.
    pub has_tun: bool,
    pub huge_pages: HugePages,
    /// Huge pages that are set aside, by their size.
    pub hugetlb: Vec<Pool>,
    /// Bytes that programs can still have.
    pub available_memory: Option<u64>,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// `net.ipv4.ip_forward`, and the same of IPv6.
    pub forwards: (Option<bool>, Option<bool>),
    /// `net.ipv4.conf.all.rp_filter`.
    pub reverse_path: Option<u8>,
    /// The tap devices of balancers at work.
    pub ways_back: Vec<WayBack>,
}

/// Transparent huge pages: the words in brackets below `/sys/kernel/mm/transparent_hugepage`.
#[derive(Clone, Debug, Default)]
pub struct HugePages {
    /// `enabled`: to whom they are given.
    pub given: Option<String>,
    /// `defrag`: for whom memory is moved to make some free.
    pub made_free: Option<String>,
}

/// Huge pages of one size that are set aside (hugetlb).
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// Of each.
    pub kibibytes: u64,
    /// Pages that nobody uses or was promised.
    pub idle: u64,
}

/// A tap device by which packets go back to the kernel.
#[derive(Clone, Debug)]
pub struct WayBack {
    pub name: String,
    /// Its own `rp_filter`.
    pub reverse_path: u8,
}

/// RLIMIT_MEMLOCK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LockedMemory {
    #[default]
    Unlimited,
    Bytes(u64),
}

/// One interface.
#[derive(Clone, Debug)]
pub struct InterfaceFacts {
    pub name: String,
    /// What the kernel tells of it, or why it does not.
    pub device: Result<DeviceState, String>,
    /// Its interrupts, if it has any of its own.
    pub interrupts: Option<Vec<Interrupt>>,
    pub deferral: Option<Deferral>,
}

/// How long a device that is polled does not interrupt; both zero: it always does.
#[derive(Clone, Copy, Debug)]
pub struct Deferral {
    /// `napi_defer_hard_irqs`: after so many polls in vain it interrupts again.
    pub interrupts: u32,
    /// `gro_flush_timeout`: and if nobody polls for so long.
    pub nanoseconds: u64,
}

/// One interrupt of a device.
#[derive(Clone, Debug)]
pub struct Interrupt {
    pub number: u32,
    /// Like `eth0-TxRx-0`.
    pub name: String,
    /// CPUs that it comes to, like `0-3`.
    pub cpus: String,
}

/// What the configuration asks of the machine.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub workers: Workers,
    /// Conns per worker.
    pub capacity: u32,
    pub sockets: XskConfig,
    /// Whether servers of each family have the balancer for their router: mode nat, IPv4 and IPv6.
    pub routes_for: (bool, bool),
}

impl Facts {
    /// Queues of all interfaces that could be seen.
    pub fn queues(&self) -> u32 {
        self.devices().map(|device| device.receive_queues).sum()
    }

    /// How many workers there will be.
    pub fn workers(&self) -> u32 {
        let queues = self.devices().map(|device| device.receive_queues).min();
        match self.wanted.workers {
            Workers::Auto => queues.unwrap_or(1),
            Workers::Count(count) => count.into(),
        }
    }

    fn devices(&self) -> impl Iterator<Item = &DeviceState> {
        self.interfaces
            .iter()
            .filter_map(|i| i.device.as_ref().ok())
    }
}

impl Machine {
    /// The first two numbers of the kernel's release.
    pub fn kernel_version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.kernel.split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next()?.parse().ok();
        Some((number()?, number()?))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::doctor::finding::{Finding, Verdict};

    /// A check, how bad it is, and the command that mends it.
    pub type Fault = (&'static str, Verdict, Option<String>);

    /// What is found where one thing is not as it should be.
    pub fn faults(
        change: impl FnOnce(&mut Facts),
        findings: impl Fn(&Facts) -> Vec<Finding>,
    ) -> Vec<Fault> {
        let mut facts = healthy();
        change(&mut facts);
        let findings = findings(&facts).into_iter();
        findings
            .filter(|finding| finding.verdict != Verdict::Ok)
            .map(|finding| (finding.check, finding.verdict, finding.fix))
            .collect()
    }

    /// A machine on which there is nothing to find, for two interfaces of two queues.
    pub fn healthy() -> Facts {
        let device = DeviceState {
            is_up: true,
            mtu: 1500,
            driver: Some("ice".to_owned()),
            receive_queues: 2,
            transmit_queues: 2,
            most_queues: 2,
            xdp: lb::live::XdpState {
                program: None,
                native: true,
                zero_copy: true,
            },
            ..DeviceState::default()
        };
        let interrupts = [0, 1].map(|cpu| Interrupt {
            number: 40 + cpu,
            name: format!("ice-TxRx-{cpu}"),
            cpus: cpu.to_string(),
        });
        let interface = |name: &str| InterfaceFacts {
            name: name.to_owned(),
            device: Ok(device.clone()),
            interrupts: Some(interrupts.to_vec()),
            deferral: Some(Deferral {
                interrupts: 2,
                nanoseconds: 200_000,
            }),
        };
        Facts {
            machine: Machine {
                kernel: "6.18.44-amd64".to_owned(),
                capabilities: Some(CapabilitySet::all()),
                af_xdp: Some(true),
                locked_memory: LockedMemory::Unlimited,
                compiles_bpf: Some(true),
                bpf_file_system: true,
                has_tun: true,
                huge_pages: HugePages {
                    given: Some("always".to_owned()),
                    made_free: Some("madvise".to_owned()),
                },
                hugetlb: [2 << 10, 1 << 20]
                    .map(|kibibytes| Pool { kibibytes, idle: 0 })
                    .to_vec(),
                available_memory: Some(8 << 30),
                cpus: 2,
                forwards: (Some(true), Some(true)),
                reverse_path: Some(1),
                ways_back: vec![WayBack {
                    name: "lbd0".to_owned(),
                    reverse_path: 2,
                }],
            },
            interfaces: vec![interface("eth0"), interface("eth1")],
            wanted: Wanted {
                workers: Workers::Auto,
                capacity: 1_000_000,
                sockets: XskConfig::default(),
                routes_for: (true, true),
            },
            servers: vec![(Addr::v4([10, 0, 0, 1]), Some(true))],
        }
    }

    #[test]
    fn versions_are_read_off_releases() {
        let version = |kernel: &str| {
            Machine {
                kernel: kernel.to_owned(),
                ..Machine::default()
            }
            .kernel_version()
        };
        assert_eq!(version("6.18.44-amd64"), Some((6, 18)));
        assert_eq!(version("5.10-rc1"), Some((5, 10)));
        assert_eq!(version("plan 9"), None);
    }
}
