//! Traffic through the real `lbd`: what a mode and the role that it needs cost, next to direct routing, which needs none.

use std::net::SocketAddr;

use lb_benches::built_program;
use lb_testkit::netns::{AgentPlace, Balancer, Family, Lab, Scratch, Service};

use crate::Arguments;
use crate::rates::{Rates, Target, lab};
use crate::table::Comparison;

/// A mode, and what is to be attached for it and taken away again.
struct Contestant {
    name: &'static str,
    attach: Option<&'static str>,
    /// Which of the targets.
    target: usize,
}

/// The modes, and how much more a server's port is than the service's.
const MODES: [(&str, u16); 4] = [("dr", 0), ("tun", 0), ("enat", 1000), ("fnat", 1000)];
const FIRST_WEB: u16 = 81;
const FIRST_BULK: u16 = 5301;

const CONTESTANTS: [Contestant; 5] = [
    Contestant {
        name: "dr",
        attach: None,
        target: 0,
    },
    Contestant {
        name: "tun",
        attach: Some("tun 10.0.0.100 --from 10.1.0.254"),
        target: 1,
    },
    Contestant {
        name: "enat",
        attach: Some("enat 10.0.0.100"),
        target: 2,
    },
    Contestant {
        name: "fnat",
        attach: None,
        target: 3,
    },
    Contestant {
        name: "fnat with toa",
        attach: Some("toa --from 10.1.0.201"),
        target: 3,
    },
];
/// Whom each is compared with: the first of the pair is the measure.
const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (3, 4)];

/// Each mode with its role, next to one that needs none.
pub fn measure(arguments: &Arguments) -> anyhow::Result<Vec<Comparison>> {
    let (lab, scratch) = (lab()?, Scratch::new()?);
    let mut targets = Vec::new();
    let mut services = Vec::new();
    for (index, (mode, shift)) in (0u16..).zip(MODES) {
        let ports = [FIRST_WEB + index, FIRST_BULK + index];
        services.extend(ports.map(|port| Service {
            server_port: port + shift,
            ..Service::new(mode, "tcp", port)
        }));
        let [web, bulk] = ports.map(|port| SocketAddr::from((Family::V4.vip(), port)));
        let server_ports = ports.map(|port| port + shift);
        targets.push(Target::start(&lab, &scratch, server_ports, web, bulk)?);
    }
    let agent = AgentPlace::new(&lab.servers[0], &built_program("lbrs")?)?;
    // Servers in dr and tun have the VIP all the time.
    agent.run("dr 10.0.0.100 --once")?;
    let config = lab.config(&services);
    let mut balancer = Balancer::start(&lab, &built_program("lbd")?, &config)?;
    let mut samples = CONTESTANTS.map(|_| Vec::new());
    for round in 1..=arguments.rounds {
        for (contestant, samples) in CONTESTANTS.iter().zip(&mut samples) {
            eprintln!("round {round} of {}: {}", arguments.rounds, contestant.name);
            let target = &mut targets[contestant.target];
            samples.push(contestant.rates(&lab, &agent, target, arguments)?);
        }
    }
    let status = balancer.terminate()?;
    anyhow::ensure!(
        status.success(),
        "lbd ended with {status}:\n{}",
        balancer.log()
    );
    let compared = PAIRS.map(|(without, with)| Comparison {
        name: format!("balanced, {}", CONTESTANTS[with].name),
        to: format!("balanced, {}", CONTESTANTS[without].name),
        without: samples[without].clone(),
        with: samples[with].clone(),
    });
    Ok(compared.into())
}

impl Contestant {
    fn rates(
        &self,
        lab: &Lab,
        agent: &AgentPlace<'_>,
        target: &mut Target,
        arguments: &Arguments,
    ) -> anyhow::Result<Rates> {
        let Some(attach) = self.attach else {
            return target.rates(lab, arguments);
        };
        agent.run(&format!("{attach} --once"))?;
        let rates = target.rates(lab, arguments)?;
        let role = attach.split(' ').next().unwrap_or_default();
        agent.run(&format!("detach {role}"))?;
        Ok(rates)
    }
}
