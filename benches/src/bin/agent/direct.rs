//! Traffic that does not come from a balancer: what a role costs those whom it is not for.

use lb_benches::built_program;
use lb_testkit::netns::{AgentPlace, Family, Scratch};

use crate::Arguments;
use crate::rates::{Target, lab};
use crate::table::Comparison;

/// Each role, attached as it would be.
const ROLES: [(&str, &str); 4] = [
    ("toa", "toa --from 10.1.0.254"),
    ("enat", "enat 10.0.0.100"),
    ("tun", "tun 10.0.0.100 --from 10.1.0.254"),
    ("dr", "dr 10.0.0.100"),
];
const PORTS: [u16; 2] = [80, 5201];

/// Each role against none.
pub fn measure(arguments: &Arguments) -> anyhow::Result<Vec<Comparison>> {
    let (lab, scratch) = (lab()?, Scratch::new()?);
    let [web, bulk] = PORTS.map(|port| (Family::V4.server(0), port).into());
    let mut target = Target::start(&lab, &scratch, PORTS, web, bulk)?;
    let agent = AgentPlace::new(&lab.servers[0], &built_program("lbrs")?)?;
    let comparison = |(role, _)| Comparison::new(format!("direct, {role}"), "direct, no role");
    let mut comparisons: Vec<Comparison> = ROLES.map(comparison).into();
    for round in 1..=arguments.rounds {
        for ((role, attach), comparison) in ROLES.iter().zip(&mut comparisons) {
            eprintln!("round {round} of {}: direct, {role}", arguments.rounds);
            comparison.without.push(target.rates(&lab, arguments)?);
            agent.run(&format!("{attach} --once"))?;
            comparison.with.push(target.rates(&lab, arguments)?);
            agent.run("detach")?;
        }
    }
    Ok(comparisons)
}
