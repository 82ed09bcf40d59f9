//! `lbd doctor`: looks whether this machine can balance, and says for each finding which command mends it.
//!
//! It changes nothing, and sees what the user who calls it may see; the rest it calls unseen. [`examine`] collects facts,
//! [`machine`], [`memory`], [`interface`] and [`servers`] judge them, so that judgements can be tried on any machine's facts.

mod examine;
mod facts;
mod finding;
mod interface;
mod machine;
mod memory;
mod servers;

use std::path::Path;

use finding::{Finding, Verdict};
use lb_config::Settings;

/// What to look at.
pub struct Patient<'a> {
    /// The configuration to balance by.
    pub config: &'a Path,
    /// Interfaces to look at in place of the configuration's, which need not exist then.
    pub interfaces: Vec<String>,
}

/// Looks, and prints what was found; whether there is no problem.
pub fn run(patient: &Patient<'_>, json: bool) -> anyhow::Result<bool> {
    let (settings, mut findings) = configuration(patient);
    let facts = examine::examine(&settings.balancer);
    findings.extend(machine::findings(&facts));
    findings.extend(memory::findings(&facts));
    for interface in &facts.interfaces {
        findings.extend(interface::findings(interface, &facts));
    }
    findings.extend(servers::findings(&facts));
    let text = match json {
        true => serde_json::to_string_pretty(&findings)? + "\n",
        false => finding::shown(&findings),
    };
    anstream::print!("{text}");
    Ok(!findings.iter().any(|f| f.verdict == Verdict::Problem))
}

/// What would be balanced, and what is to be said of the file.
fn configuration(patient: &Patient<'_>) -> (Settings, Vec<Finding>) {
    let name = patient.config.display();
    let loaded = lb_config::load(patient.config);
    let (mut settings, findings) = match loaded {
        Ok(settings) => {
            let text = format!("{name} is OK");
            (settings, vec![Finding::ok("configuration", "file", text)])
        }
        Err(_) if !patient.interfaces.is_empty() && !patient.config.exists() => {
            (Settings::default(), Vec::new())
        }
        Err(refusal) => {
            let why = refusal.to_string();
            let first = why.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            let finding = Finding::problem("configuration", "file", first.to_owned())
                .mend(format!("lbd check {name}"));
            (Settings::default(), vec![finding])
        }
    };
    if !patient.interfaces.is_empty() {
        settings.balancer.engine.interfaces = patient.interfaces.clone();
    }
    (settings, findings)
}
