//! What was chosen for each queue when it was opened.

use std::fmt;

use lb_bpf::XdpMode;

/// Whether the driver works on the packet memory itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopyMode {
    /// The NIC reads and writes packets in the UMEM.
    ZeroCopy,
    /// The kernel copies each packet into and out of the UMEM.
    Copy {
        /// Why it is not zero-copy.
        why_not_zero_copy: String,
    },
}

/// How a worker learns that packets have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// It sleeps, and the kernel wakes it.
    Sleeps,
    /// It looks at the rings all the time, which the kernel fills when the device interrupts.
    PollsRings,
    /// It looks all the time, and has the kernel poll the device.
    PollsDevice,
}

/// The choices for one queue of one interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueReport {
    /// The interface.
    pub interface: String,
    /// The queue.
    pub queue: u32,
    /// The worker that serves it, by position in [`Xsk::ports`](crate::Xsk::ports).
    pub worker: usize,
    /// Zero-copy or not.
    pub copy: CopyMode,
    /// Where the steering program runs.
    pub xdp: XdpMode,
    /// What the worker does when nothing comes.
    pub waiting: Waiting,
    /// How many packets one wake-up may send, if the kernel lets us say.
    pub packets_per_wakeup: Option<u32>,
}

impl fmt::Display for CopyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyMode::ZeroCopy => f.write_str("zero-copy mode"),
            CopyMode::Copy { why_not_zero_copy } => {
                write!(f, "copy mode (zero-copy: {why_not_zero_copy})")
            }
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Waiting::Sleeps => "need_wakeup",
            Waiting::PollsRings => "need_wakeup, busy polling of the rings",
            Waiting::PollsDevice => "need_wakeup, busy polling of the device",
        })
    }
}

impl fmt::Display for QueueReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueueReport {
            interface,
            queue,
            worker,
            copy,
            xdp,
            waiting,
            ..
        } = self;
        write!(
            f,
            "{interface} queue {queue}: worker {worker}, {copy}, {xdp}, {waiting}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_was_chosen_and_why() {
        let report = QueueReport {
            interface: "eth1".to_owned(),
            queue: 0,
            worker: 0,
            copy: CopyMode::Copy {
                why_not_zero_copy: "Operation not supported".to_owned(),
            },
            xdp: XdpMode::Native,
            waiting: Waiting::Sleeps,
            packets_per_wakeup: None,
        };
        assert_eq!(
            report.to_string(),
            "eth1 queue 0: worker 0, copy mode (zero-copy: Operation not supported), native XDP, need_wakeup"
        );
    }
}
