//! What an edit takes from the heap, in the engine and in a worker that follows it.

use allocation_counter::{AllocationInfo, measure};
use lb::{
    Addr, Config, Endpoint, Engine, Protocol, Refusal, ServerSpec, ServiceConfig, ServiceTable,
    Thresholds, Time, Tunnel, Worker,
};
use lb_testkit::MemoryPort;

fn vip(service: u32) -> Endpoint {
    Endpoint::new(Addr::v4((0x0a01_0000 + service).to_be_bytes()), 80)
}

fn rip(server: u32) -> Endpoint {
    Endpoint::new(Addr::v4((0x0a02_0000 + server).to_be_bytes()), 8080)
}

fn service(number: u32) -> ServiceConfig {
    let service = ServiceConfig::new(vip(number), Protocol::Tcp, "wlc", "nat");
    let servers = (0..3).map(|server| rip(3 * number + server));
    servers.fold(service, |service, rip| service.with_server(rip, 1))
}

fn server(rip: Endpoint, weight: u32) -> ServerSpec {
    ServerSpec {
        rip,
        mode: "nat".to_owned(),
        weight,
        thresholds: Thresholds::default(),
        tunnel: Tunnel::default(),
    }
}

struct Busy {
    engine: Engine,
    worker: Worker<MemoryPort>,
}

impl Busy {
    fn with(services: u32) -> Busy {
        let mut config = Config {
            services: (0..services).map(service).collect(),
            ..Config::default()
        };
        config.engine.capacity = 1000;
        let engine = Engine::new(&config).expect("valid");
        let mut worker = engine.worker(MemoryPort::new(64));
        worker.turn(Time::ZERO);
        Busy { engine, worker }
    }

    /// What it takes until the worker follows the edit and nobody has what was before.
    fn taken_by(
        &mut self,
        edit: impl FnOnce(&mut ServiceTable) -> Result<(), Refusal>,
    ) -> AllocationInfo {
        measure(|| {
            self.engine.edit(edit).expect("valid");
            self.worker.turn(Time::ZERO);
        })
    }
}

#[test]
fn an_edit_of_one_of_many_services_takes_no_more_than_one_of_a_few() {
    let [few, many] = [50, 10_000].map(|services| {
        let mut busy = Busy::with(services);
        let id = service(20).id;
        [
            busy.taken_by(|table| table.edit_server(id, &server(rip(60), 7))),
            busy.taken_by(|table| table.add_server(id, &server(rip(65_000), 1))),
            busy.taken_by(|table| table.delete_server(id, rip(65_000))),
            busy.taken_by(|table| table.delete_service(id)),
        ]
    });
    for (edit, (few, many)) in few.iter().zip(&many).enumerate() {
        assert!(few.count_total > 0, "edit {edit}");
        // A page of services and a part of an index, whatever there is beyond them.
        assert!(
            many.count_total <= few.count_total + 4 && many.bytes_total <= few.bytes_total + 32_768,
            "edit {edit}: {} allocations of {} bytes among a few services, {} of {} among many",
            few.count_total,
            few.bytes_total,
            many.count_total,
            many.bytes_total
        );
    }
}

#[test]
fn a_configuration_that_changes_nothing_leaves_nothing_for_the_worker_to_do() {
    let mut busy = Busy::with(2_000);
    let config = busy.engine.config();
    busy.engine.apply(&config).expect("valid");
    let followed = measure(|| {
        busy.worker.turn(Time::ZERO);
    });
    assert_eq!(followed.count_total, 0);
}
