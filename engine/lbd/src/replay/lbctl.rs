//! Those of a replay's commands that are lbctl's and not ipvsadm's: `reload FILE`, `drain SERVER`, `undrain SERVER`.

use std::path::Path;

use anyhow::bail;
use lb::{Config, Drain, Engine, ServerAddress};

use super::offline::refused;

/// What a command has to say; `None` if it is none of these.
pub fn run(words: &[&str], engine: &Engine) -> Option<anyhow::Result<String>> {
    Some(match words {
        ["reload", file] => reload(Path::new(file), engine),
        ["drain", server] => drained(server, |server| engine.edit(|table| table.drain(server)))
            .map(|drains| {
                let line = |drain: &Drain| {
                    format!(
                        "draining {} of {}: {} active, {} inactive\n",
                        drain.rip, drain.service, drain.active, drain.inactive
                    )
                };
                drains.iter().map(line).collect()
            }),
        ["undrain", server] => drained(server, |server| engine.edit(|table| table.undrain(server)))
            .map(|drains| {
                let line = |drain: &Drain| {
                    format!(
                        "{} of {}: weight {}\n",
                        drain.rip, drain.service, drain.weight
                    )
                };
                drains.iter().map(line).collect()
            }),
        ["reload" | "drain" | "undrain", ..] => Err(anyhow::anyhow!(
            "allowed: reload FILE, drain SERVER, undrain SERVER"
        )),
        _ => return None,
    })
}

fn reload(file: &Path, engine: &Engine) -> anyhow::Result<String> {
    let config: Config = lb_config::load(file)?.balancer;
    let hops = config.next_hops().or_else(refused)?;
    let difference = engine.apply(&config).or_else(refused)?;
    engine.set_next_hops(hops);
    Ok(format!("{difference}\n"))
}

fn drained(
    server: &str,
    drain: impl FnOnce(&ServerAddress) -> Result<Vec<Drain>, lb::Refusal>,
) -> anyhow::Result<Vec<Drain>> {
    let Ok(address) = server.parse() else {
        bail!("\"{server}\", allowed: ADDRESS or ADDRESS:PORT");
    };
    match drain(&address) {
        Ok(drains) => Ok(drains),
        Err(_) => bail!("no service has server {address}"),
    }
}
