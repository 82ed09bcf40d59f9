//! What is not a service's stays with the kernel, on the same interfaces.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lb_testkit::netns::{
    BALANCER, BALANCER_BACK, HttpTally, Topology, VIP, available, ping, server_address,
    tcp_exchange,
};

use crate::rig::{Mode, Rig, ssh, web};

#[test]
fn pings_and_sessions_of_the_balancer_itself_are_undisturbed_under_load() {
    if !available() {
        return;
    }
    for topology in [Topology::OneArmed, Topology::TwoArmed] {
        let rig = Rig::start(topology, Mode::Nat);
        assert!(rig.has_xdp() && rig.holds_vip(), "{}", rig.lbd.log());
        let loaded = AtomicBool::new(true);
        thread::scope(|scope| {
            let load = scope.spawn(|| {
                let tally = HttpTally::collect(&rig.lab.client, web(), 5_000).expect("curl");
                loaded.store(false, Ordering::Relaxed);
                tally
            });
            let mut sessions = 0;
            while sessions == 0 || loaded.load(Ordering::Relaxed) {
                tcp_exchange(&rig.lab.client, ssh(), 100).expect("a session");
                sessions += 1;
            }
            for address in [BALANCER, BALANCER_BACK, VIP] {
                assert_eq!(
                    ping(&rig.lab.client, address, 3).expect("ping"),
                    3,
                    "{address}"
                );
            }
            let tally = load.join().expect("curl");
            assert_eq!(tally.failures, 0, "{tally:?}");
        });
        rig.finish();
    }
}

/// Servers have a life besides the service: what they do on other ports passes the balancer as if `lbd` were
/// not there, although NAT replies come from the same addresses.
#[test]
fn a_servers_other_traffic_is_forwarded_by_the_kernel() {
    if !available() {
        return;
    }
    for topology in [Topology::OneArmed, Topology::TwoArmed] {
        let rig = Rig::start(topology, Mode::Nat);
        let direct = (server_address(0), 8080).into();
        let tally = HttpTally::collect(&rig.lab.client, direct, 5).expect("curl");
        assert_eq!(tally.failures, 0, "{topology:?} {tally:?}");
        assert_eq!(
            ping(&rig.lab.client, server_address(0), 3).expect("ping"),
            3,
            "{topology:?}"
        );
        assert_eq!(
            ping(&rig.lab.servers[0], BALANCER_BACK, 3).expect("ping"),
            3,
            "{topology:?}"
        );
        rig.finish();
    }
}
