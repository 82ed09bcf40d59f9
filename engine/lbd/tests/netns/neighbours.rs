//! MAC addresses come from the kernel's neighbour table, also when it forgets them.

use std::thread;
use std::time::Duration;

use lb_testkit::netns::{HttpTally, Topology, available};

use crate::rig::{Mode, Rig, web};

const FLUSHES: u32 = 10;
const BETWEEN_FLUSHES: Duration = Duration::from_millis(200);

/// Requests made at a time while the table is flushed, and once more when it is left alone.
const ROUND: u64 = 200;

#[test]
fn forgotten_neighbours_delay_nobody_for_good() {
    if !available() {
        return;
    }
    for mode in [Mode::Nat, Mode::Dr] {
        let rig = Rig::start(Topology::TwoArmed, mode);
        let requests = || {
            let tally = HttpTally::collect(&rig.lab.client, web(), ROUND).expect("curl");
            assert_eq!(
                (tally.failures, tally.connections),
                (0, ROUND),
                "{mode:?} {tally:?}"
            );
        };
        thread::scope(|scope| {
            let flushing = scope.spawn(|| {
                for _ in 0..FLUSHES {
                    rig.lab.balancer.ip("neighbour flush all").expect("a flush");
                    thread::sleep(BETWEEN_FLUSHES);
                }
            });
            requests();
            while !flushing.is_finished() {
                requests();
            }
        });
        requests();
        rig.finish();
    }
}
