//! MAC addresses come from the kernel's neighbour table, also when it forgets them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lb_testkit::netns::{HttpTally, Topology, available};

use crate::rig::{Mode, Rig, web};

/// Often enough that the table is empty at some point of many connections.
const BETWEEN_FLUSHES: Duration = Duration::from_millis(50);

#[test]
fn forgotten_neighbours_delay_nobody_for_good() {
    if !available() {
        return;
    }
    for mode in [Mode::Nat, Mode::Dr] {
        let rig = Rig::start(Topology::TwoArmed, mode);
        let running = AtomicBool::new(true);
        let flushes = thread::scope(|scope| {
            let flushing = scope.spawn(|| {
                let mut flushes = 0;
                while running.load(Ordering::Relaxed) {
                    rig.lab.balancer.ip("neighbour flush all").expect("a flush");
                    flushes += 1;
                    thread::sleep(BETWEEN_FLUSHES);
                }
                flushes
            });
            let tally = HttpTally::collect(&rig.lab.client, web(), 3_000);
            running.store(false, Ordering::Relaxed);
            let tally = tally.expect("curl");
            assert_eq!(
                (tally.failures, tally.connections),
                (0, 3_000),
                "{mode:?} {tally:?}\n{}",
                rig.lbd.log()
            );
            flushing.join().expect("the flushing thread")
        });
        assert!(flushes > 1);
        rig.finish();
    }
}
