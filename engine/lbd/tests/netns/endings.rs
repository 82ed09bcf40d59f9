//! What `lbd` leaves behind when it ends, one way or another.

use lb_testkit::netns::{BALANCER, HttpTally, Topology, VIP, available, ping, tcp_exchange};

use crate::rig::{Mode, Rig, ssh, web};

#[test]
fn a_terminated_lbd_takes_its_programs_and_addresses_with_it() {
    if !available() {
        return;
    }
    for topology in [Topology::OneArmed, Topology::TwoArmed] {
        let mut rig = Rig::start(topology, Mode::Nat);
        assert!(rig.has_xdp() && rig.holds_vip(), "{}", rig.lbd.log());
        let status = rig.lbd.terminate().expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", rig.lbd.log());
        assert!(!rig.has_xdp(), "{}", rig.lbd.log());
        assert!(!rig.holds_vip(), "{}", rig.lbd.log());
        assert_eq!(ping(&rig.lab.client, BALANCER, 3).expect("ping"), 3);
    }
}

#[test]
fn an_address_that_was_there_before_stays() {
    if !available() {
        return;
    }
    let mut rig = Rig::start(Topology::TwoArmed, Mode::Nat);
    rig.lbd.terminate().expect("it ends");
    rig.lab
        .balancer
        .ip(&format!("address add {VIP}/32 dev eth0"))
        .expect("an address");
    rig.start_again();
    assert_eq!(
        HttpTally::collect(&rig.lab.client, web(), 30)
            .expect("curl")
            .failures,
        0
    );
    rig.lbd.terminate().expect("it ends");
    assert!(rig.holds_vip(), "{}", rig.lbd.log());
}

#[test]
fn a_killed_lbd_leaves_the_interfaces_to_the_kernel() {
    if !available() {
        return;
    }
    for topology in [Topology::OneArmed, Topology::TwoArmed] {
        let mut rig = Rig::start(topology, Mode::Nat);
        let tally = HttpTally::collect(&rig.lab.client, web(), 100).expect("curl");
        assert_eq!(tally.failures, 0, "{tally:?}");
        assert!(rig.has_xdp());
        rig.lbd.kill().expect("it ends");
        tcp_exchange(&rig.lab.client, ssh(), 10).expect("a session");
        assert_eq!(ping(&rig.lab.client, BALANCER, 3).expect("ping"), 3);
        assert_eq!(ping(&rig.lab.servers[0], BALANCER, 3).expect("ping"), 3);
        assert!(!rig.has_xdp());

        rig.start_again();
        let tally = HttpTally::collect(&rig.lab.client, web(), 100).expect("curl");
        assert_eq!(tally.failures, 0, "{tally:?}");
        rig.finish();
    }
}
