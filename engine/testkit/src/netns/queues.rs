//! On which of its queues the balancer receives.
//!
//! A veth receives on the queue that the other end sends on, and that is chosen by XPS: by which CPU sends. With all CPUs
//! given to one queue, all frames take that.

use std::fs;
use std::process::Command;

use super::{Error, Lab};

/// Sets the CPUs of each transmit queue of a device: all for one of them, none for the others. `/sys` shows the devices
/// of the namespace that it was mounted in.
const SET_QUEUE: &str = "mount -t sysfs sysfs /sys && cd /sys/class/net/$1/queues && \
                         echo $3 > tx-$2/xps_cpus && \
                         for queue in tx-*; do [ $queue = tx-$2 ] || echo 0 > $queue/xps_cpus; done";

impl Lab {
    /// Lets everything that comes to this interface of the balancer come in on this queue, from now on.
    ///
    /// # Errors
    ///
    /// If there is no such queue, or the kernel has no XPS.
    pub fn deliver_on(&self, interface: &str, queue: u32) -> Result<(), Error> {
        let switch = self.switch_at(interface);
        let mut set = Command::new("unshare");
        set.args(["--mount", "sh", "-c", SET_QUEUE, "sh", "to-balancer"])
            .args([queue.to_string(), all_cpus()?]);
        switch.check_output(set)?;
        Ok(())
    }
}

/// All CPUs that there may be, as the kernel writes them: hexadecimal, in words of 32 bits.
fn all_cpus() -> Result<String, Error> {
    const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
    let possible = fs::read_to_string(POSSIBLE).map_err(Error::io(POSSIBLE))?;
    let last = possible.trim().rsplit(['-', ',']).next();
    let count = last.and_then(|last| last.parse().ok()).unwrap_or(0) + 1;
    let words = (0..count).step_by(32).rev();
    let word = |first: u32| format!("{:x}", u32::MAX >> (32 - (count - first).min(32)));
    Ok(words.map(word).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::{Family, Plan, Replies, Topology, available, ping};

    #[test]
    fn everything_comes_in_on_the_queue_that_was_asked_for() {
        if !available() {
            return;
        }
        let plan = Plan {
            queues: 2,
            ..Plan::new(Topology::OneArmed, Replies::ThroughBalancer)
        };
        let lab = Lab::new(plan).expect("a lab");
        for queue in [0, 1, 0] {
            lab.deliver_on("eth0", queue).expect("XPS");
            let answered = ping(&lab.client, Family::V4.balancer(), 3).expect("ping");
            assert_eq!(answered, 3);
        }
        assert!(lab.deliver_on("eth0", 2).is_err());
    }
}
