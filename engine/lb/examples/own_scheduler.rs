//! A scheduler of one's own, under a name that configurations can use: two servers at random, the less busy one gets
//! the conn ("the power of two choices").

use std::hash::{BuildHasher, RandomState};

use lb::{Config, Dests, Engine, Protocol, Registry, Request, Scheduler, ServiceConfig};

#[derive(Default)]
struct TwoChoices {
    random: RandomState,
    conns: u64,
}

impl Scheduler for TwoChoices {
    fn schedule(&mut self, _request: &Request<'_>, dests: &Dests) -> Option<usize> {
        self.conns += 1;
        let random = self.random.hash_one(self.conns);
        let taking: Vec<usize> = (0..dests.len())
            .filter(|at| dests[*at].takes_conns())
            .collect();
        let pick = |random: u64| taking.get(random.checked_rem(taking.len() as u64)? as usize);
        let (one, other) = (*pick(random >> 32)?, *pick(random & 0xffff_ffff)?);
        let busier = dests[one].overhead() > dests[other].overhead();
        Some(if busier { other } else { one })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::builtin().with_scheduler("p2c", || {
        Box::new(TwoChoices::default()) as Box<dyn Scheduler>
    });
    let web = ServiceConfig::new("10.0.0.100:80".parse()?, Protocol::Tcp, "p2c", "nat")
        .with_server("10.1.0.11:8080".parse()?, 1)
        .with_server("10.1.0.12:8080".parse()?, 1);
    Engine::with_registry(&Config::on(&[]).with_service(web), registry)
        .map_err(|e| e[0].clone())?;
    println!("the engine takes \"p2c\" for a scheduler");
    Ok(())
}
