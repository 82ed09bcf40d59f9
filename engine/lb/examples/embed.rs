//! A balancer inside another program: two servers behind one VIP, on two interfaces, until Enter is pressed.
//!
//! Needs root, and interfaces of these names.

use lb::{Config, Protocol, ServiceConfig, live::Balancer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let web = ServiceConfig::new("10.0.0.100:80".parse()?, Protocol::Tcp, "rr", "nat")
        .with_server("10.1.0.11:8080".parse()?, 1)
        .with_server("10.1.0.12:8080".parse()?, 1);
    let balancer = Balancer::start(&Config::on(&["eth0", "eth1"]).with_service(web))?;

    println!("balancing; Enter ends it");
    std::io::stdin().read_line(&mut String::new())?;
    for (counter, value) in balancer.stop().counters.nonzero() {
        println!("{counter:24} {value}");
    }
    Ok(())
}
