//! What a packet of a known conn takes from the heap.

use allocation_counter::measure;
use lb_benches::Case;

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

/// Or the test above could not fail.
#[test]
fn what_is_allocated_is_counted() {
    let taken = measure(|| drop(std::hint::black_box(vec![0_u8; 100])));
    assert_eq!(taken.count_total, 1);
}
