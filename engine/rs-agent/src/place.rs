//! Where the agent keeps what outlives it.
//!
//! Below one folder, `/run/lbrs` unless told otherwise: `bpf`, a bpffs of our own that holds links and maps, and a few
//! small files. Each network namespace has its part, named by the kernel's cookie for it, which no other namespace gets
//! until the machine starts again; so agents in namespaces and containers do not meet.
//!
//! A bpffs lives as long as the mount namespace it is mounted in, and `ip netns exec` makes one that ends with the
//! command. Hence the folder is looked for in the mount namespace of process 1, the host's or the container's, and only
//! a folder that was named explicitly is where it is seen from here.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lb_bpf::agent::{Pins, network_namespace_cookie};
use nix::sched::{CloneFlags, setns};
use rustix::fs::{FlockOperation, flock, statfs};
use rustix::mount::{MountFlags, mount};

use lbrs::plan::Role;

const DEFAULT: &str = "/run/lbrs";

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The part of the folder that belongs to this network namespace.
pub struct Place {
    root: PathBuf,
    cookie: u64,
}

impl Place {
    /// Goes there. Without a `directory` the process is in the mount namespace of process 1 afterwards, if it may
    /// enter it: read other files before. Nothing is made yet.
    pub fn find(directory: Option<&Path>) -> anyhow::Result<Place> {
        let cookie = network_namespace_cookie()
            .context("cannot tell this network namespace from others (needs Linux 5.14)")?;
        let root = match directory {
            Some(directory) => std::path::absolute(directory)?,
            None => {
                enter_mount_namespace_of_process_1()
                    .context("cannot enter the mount namespace of process 1, where /run/lbrs is kept (needs CAP_SYS_ADMIN and CAP_SYS_CHROOT, or --directory)")?;
                PathBuf::from(DEFAULT)
            }
        };
        Ok(Place { root, cookie })
    }

    /// Makes the folder, and mounts a bpffs in it if there is none.
    pub fn make(&self) -> anyhow::Result<()> {
        let bpf = self.bpffs();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&bpf)
            .with_context(|| format!("cannot make {}", bpf.display()))?;
        if !self.has_bpffs() {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("lbrs", &bpf, "bpf", flags, Some(c"mode=0700")).with_context(|| {
                format!(
                    "cannot mount a bpffs on {} (needs CAP_SYS_ADMIN; or mount one there: mount -t bpf lbrs {0})",
                    bpf.display()
                )
            })?;
        }
        Ok(())
    }

    /// Whether links and maps can be there at all.
    pub fn has_bpffs(&self) -> bool {
        statfs(self.bpffs()).is_ok_and(|found| found.f_type as u64 == BPF_FS_MAGIC)
    }

    /// The kernel's number for this network namespace.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// The role's folder in the bpffs.
    pub fn pins(&self, role: Role) -> Pins {
        Pins::at(self.namespace_folder().join(role.name()))
    }

    /// Removes the folder of this network namespace, if it is empty.
    pub fn tidy(&self) {
        // Not empty means that another role is attached.
        let _ = fs::remove_dir(self.namespace_folder());
    }

    /// The control group that all programs are in that we see.
    pub fn cgroup(&self) -> anyhow::Result<File> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        let path = match cgroup_mount(&mounts) {
            Some(path) => PathBuf::from(path),
            None => {
                let path = self.root.join("cgroup");
                fs::create_dir_all(&path)
                    .and_then(|()| Ok(mount("lbrs", &path, "cgroup2", MountFlags::empty(), None)?))
                    .with_context(|| {
                        format!(
                            "no cgroup2 is mounted, and none can be on {}",
                            path.display()
                        )
                    })?;
                path
            }
        };
        File::open(&path).with_context(|| format!("cannot open {}", path.display()))
    }

    /// The file of this name for this network namespace.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(format!("{}.{name}", self.cookie))
    }

    /// Keeps other agents of this network namespace from changing anything until the file is closed.
    pub fn lock(&self) -> anyhow::Result<File> {
        let path = self.file("lock");
        let file = open_to_lock(&path)?;
        flock(&file, FlockOperation::LockExclusive)
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }

    /// Says that this process looks after `role` until the file is closed; an error if another one does.
    pub fn claim(&self, role: Role) -> anyhow::Result<File> {
        let path = self.file(role.name());
        let file = open_to_lock(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let keeper = fs::read_to_string(&path).unwrap_or_default();
            bail!("`{role}` is looked after by another lbrs already, process {keeper}");
        }
        fs::write(&path, std::process::id().to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(file)
    }

    /// The process that looks after `role`, if one does.
    pub fn keeper(&self, role: Role) -> Option<u32> {
        let path = self.file(role.name());
        let file = File::open(&path).ok()?;
        // Taken only to see whether it can be.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => fs::read_to_string(path).ok()?.parse().ok(),
        }
    }

    fn bpffs(&self) -> PathBuf {
        self.root.join("bpf")
    }

    fn namespace_folder(&self) -> PathBuf {
        self.bpffs().join(self.cookie.to_string())
    }
}

fn open_to_lock(path: &Path) -> anyhow::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// Where a cgroup2 is mounted, out of `/proc/self/mountinfo` (proc(5)): mount id, parent, device, root, mount point,
/// options, optional fields, a dash, type.
fn cgroup_mount(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        filesystem.starts_with("cgroup2 ").then_some(point)
    })
}

fn enter_mount_namespace_of_process_1() -> io::Result<()> {
    let [ours, theirs] = ["/proc/self/ns/mnt", "/proc/1/ns/mnt"].map(fs::metadata);
    let (ours, theirs) = (ours?, theirs?);
    if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) {
        return Ok(());
    }
    let namespace = File::open("/proc/1/ns/mnt")?;
    setns(&namespace, CloneFlags::CLONE_NEWNS)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup2_is_found_also_beside_the_old_ones() {
        let hybrid = "31 24 0:27 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup_mount(hybrid), Some("/sys/fs/cgroup/unified"));
        let none = "31 24 0:27 / /sys/fs/cgroup rw - cgroup cgroup rw,memory\n";
        assert_eq!(cgroup_mount(none), None);
        assert_eq!(cgroup_mount("garbage\n - \n"), None);
    }
}
