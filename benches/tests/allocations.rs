//! What packets take of the machine's memory.

use allocation_counter::measure;
use lb_benches::{Case, ThreadEvents};

#[test]
fn a_packet_of_a_known_conn_allocates_nothing() {
    for case in Case::all().filter(|case| !case.opens()) {
        let mut scenario = case.scenario();
        let mut times = Case::times();
        // The first turn learns the ways to the servers and the clients.
        scenario
            .worker
            .turn(times.next().expect("the first of many"));
        let sent = scenario.worker.counters().of(lb::Counter::Tx);
        let taken = measure(|| {
            for now in times.by_ref() {
                scenario.worker.turn(now);
            }
        });
        assert!(
            scenario.worker.counters().of(lb::Counter::Tx) > sent,
            "{case}"
        );
        assert_eq!(taken.count_total, 0, "{case}");
    }
}

#[test]
fn a_packet_that_opens_a_conn_allocates_nothing_and_waits_for_no_page() {
    // A conn over IPv6 takes more memory when it opens.
    let over_ipv4 = |case: &Case| case.to_string().contains("-v4-");
    for case in Case::all().filter(Case::opens).filter(over_ipv4) {
        let mut scenario = case.scenario();
        let mut times = Case::times();
        // The first turn learns the ways to the servers, and begins a pool of local ports for each.
        scenario
            .worker
            .turn(times.next().expect("the first of many"));
        let opened = scenario.worker.conns().len();
        let events = ThreadEvents::of_this_thread().expect("/proc is there");
        let faults = || events.so_far().expect("/proc is as expected").faults;
        let before = faults();
        let taken = measure(|| {
            for now in times.by_ref() {
                scenario.worker.turn(now);
            }
        });
        let waited = faults() - before;
        assert!(scenario.worker.conns().len() > opened + 16_000, "{case}");
        assert_eq!(taken.count_total, 0, "{case}");
        // What these conns take is 330 pages. All are there but for some at the ends of the table's memory, which it may
        // share with others.
        assert!(waited < 100, "{case}: {waited} pages");
    }
}

/// Or the tests above could not fail.
#[test]
fn what_is_allocated_is_counted() {
    let taken = measure(|| drop(std::hint::black_box(vec![0_u8; 100])));
    assert_eq!(taken.count_total, 1);
}
