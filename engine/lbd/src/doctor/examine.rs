//! Looking, without changing anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lb::live::{DeviceState, XskConfig, next_hops_of};
use lb::{Addr, Config, Resolution};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Resource, getrlimit};
use rustix::system::uname;
use rustix::thread::{CpuSet, capabilities, sched_getaffinity};

use super::facts::{
    Deferral, Facts, HugePages, InterfaceFacts, Interrupt, LockedMemory, Machine, Pool, Wanted,
    WayBack,
};

const HUGETLB: &str = "/sys/kernel/mm/hugepages";

/// A folder for each device of the network namespace, and one for all of them.
const DEVICES: &str = "/proc/sys/net/ipv4/conf";

/// What is to be known for balancing by `config`.
pub fn examine(config: &Config) -> Facts {
    let interfaces = &config.engine.interfaces;
    Facts {
        machine: machine(),
        interfaces: interfaces.iter().map(|name| interface(name)).collect(),
        wanted: wanted(config),
        servers: servers(config),
    }
}

fn machine() -> Machine {
    let cpus = sched_getaffinity(None).map(|allowed| {
        let all = 0..CpuSet::MAX_CPU;
        all.filter(|cpu| allowed.is_set(*cpu)).count()
    });
    Machine {
        kernel: uname().release().to_string_lossy().into_owned(),
        capabilities: capabilities(None).ok().map(|held| held.effective),
        af_xdp: af_xdp(),
        locked_memory: match getrlimit(Resource::Memlock).current {
            Some(bytes) => LockedMemory::Bytes(bytes),
            None => LockedMemory::Unlimited,
        },
        compiles_bpf: switch("/proc/sys/net/core/bpf_jit_enable"),
        bpf_file_system: mounted("/sys/fs/bpf", "bpf"),
        has_tun: Path::new("/dev/net/tun").exists(),
        huge_pages: HugePages {
            given: bracketed("/sys/kernel/mm/transparent_hugepage/enabled"),
            made_free: bracketed("/sys/kernel/mm/transparent_hugepage/defrag"),
        },
        hugetlb: hugetlb(),
        available_memory: available_memory(),
        cpus: cpus.unwrap_or(1),
        forwards: (
            switch("/proc/sys/net/ipv4/ip_forward"),
            switch("/proc/sys/net/ipv6/conf/all/forwarding"),
        ),
        reverse_path: number(Path::new(DEVICES).join("all/rp_filter")),
        ways_back: ways_back(),
    }
}

/// A socket that is bound to nothing.
fn af_xdp() -> Option<bool> {
    match socket(AddressFamily::XDP, SocketType::RAW, None) {
        Ok(_) => Some(true),
        Err(Errno::AFNOSUPPORT) => Some(false),
        Err(_) => None,
    }
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

fn number<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    read(path)?.parse().ok()
}

fn switch(path: &str) -> Option<bool> {
    Some(number::<u64>(path)? != 0)
}

/// The names of what is in a folder, in their order; none if it cannot be read.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn mounted(place: &str, kind: &str) -> bool {
    let mounts = read("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        (words.next(), words.next()) == (Some(place), Some(kind))
    })
}

/// The one of several words that holds.
fn bracketed(path: &str) -> Option<String> {
    let text = read(path)?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

fn hugetlb() -> Vec<Pool> {
    let pool = |name: &String| {
        let kibibytes = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
        let folder = Path::new(HUGETLB).join(name);
        let free: u64 = number(folder.join("free_hugepages"))?;
        let promised = number(folder.join("resv_hugepages"))?;
        Some(Pool {
            kibibytes: kibibytes.parse().ok()?,
            idle: free.saturating_sub(promised),
        })
    };
    names(HUGETLB).iter().filter_map(pool).collect()
}

/// As lbd names them.
fn ways_back() -> Vec<WayBack> {
    let way = |name: String| {
        let number_of = name.strip_prefix("lbd")?;
        number_of.parse::<u32>().ok()?;
        Some(WayBack {
            reverse_path: number(Path::new(DEVICES).join(&name).join("rp_filter"))?,
            name,
        })
    };
    names(DEVICES).into_iter().filter_map(way).collect()
}

fn available_memory() -> Option<u64> {
    let text = read("/proc/meminfo")?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

fn interface(name: &str) -> InterfaceFacts {
    let device = DeviceState::of(name).map_err(|error| error.to_string());
    let interrupts = device
        .as_ref()
        .ok()
        .and_then(|device| interrupts(name, device.index));
    let deferral = device
        .as_ref()
        .ok()
        .and_then(|device| deferral(name, device.index));
    InterfaceFacts {
        name: name.to_owned(),
        device,
        interrupts,
        deferral,
    }
}

/// The device's folder in /sys, if that shows the network namespace that this process is in.
fn folder(name: &str, index: u32) -> Option<PathBuf> {
    let device = Path::new("/sys/class/net").join(name);
    (read(device.join("ifindex"))? == index.to_string()).then_some(device)
}

fn deferral(name: &str, index: u32) -> Option<Deferral> {
    let device = folder(name, index)?;
    Some(Deferral {
        interrupts: number(device.join("napi_defer_hard_irqs"))?,
        nanoseconds: number(device.join("gro_flush_timeout"))?,
    })
}

/// A device without a bus has none.
fn interrupts(name: &str, index: u32) -> Option<Vec<Interrupt>> {
    let device = folder(name, index)?;
    // A virtio device is its PCI device's child.
    let places = ["device/msi_irqs", "device/../msi_irqs"];
    let listed = places
        .iter()
        .find_map(|place| fs::read_dir(device.join(place)).ok())?;
    let numbers = listed.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok());
    let mut interrupts: Vec<Interrupt> = numbers.filter_map(interrupt).collect();
    interrupts.sort_by_key(|interrupt| interrupt.number);
    Some(interrupts)
}

fn interrupt(number: u32) -> Option<Interrupt> {
    let folder = Path::new("/proc/irq").join(number.to_string());
    // The folder of whoever handles it has its name.
    let mut files = fs::read_dir(&folder).ok()?.filter_map(Result::ok);
    let handler = files.find(|file| file.path().is_dir())?.file_name();
    Some(Interrupt {
        number,
        name: handler.to_string_lossy().into_owned(),
        cpus: read(folder.join("effective_affinity_list"))
            .filter(|cpus| !cpus.is_empty())
            .or_else(|| read(folder.join("smp_affinity_list")))?,
    })
}

fn wanted(config: &Config) -> Wanted {
    let routed = |v4: bool| {
        config.services.iter().any(|service| {
            let mode = |server: &lb::ServerConfig| {
                server.mode.clone().unwrap_or_else(|| service.mode.clone())
            };
            let servers = service.servers.iter();
            servers
                .filter(|server| server.rip.addr.is_v4() == v4)
                .any(|server| mode(server) == "nat")
        })
    };
    Wanted {
        workers: config.engine.workers,
        capacity: config.engine.capacity,
        sockets: XskConfig {
            busy_poll: config.engine.busy_poll,
            ..XskConfig::default()
        },
        routes_for: (routed(true), routed(false)),
    }
}

fn servers(config: &Config) -> Vec<(Addr, Option<bool>)> {
    let all = config.services.iter().flat_map(|service| &service.servers);
    let addrs: BTreeSet<Addr> = all.map(|server| server.rip.addr).collect();
    if addrs.is_empty() || config.engine.interfaces.is_empty() {
        return Vec::new();
    }
    let hops = next_hops_of(&config.engine.interfaces).ok();
    let reachable = |addr| {
        let resolution = hops.as_ref()?.resolve(addr);
        Some(!matches!(resolution, Resolution::Unreachable))
    };
    addrs
        .into_iter()
        .map(|addr| (addr, reachable(addr)))
        .collect()
}
