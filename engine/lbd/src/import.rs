//! `lbd import`: keepalived's configuration as ours.

use std::fs;

use anyhow::{Context, bail};
use lb_keepalived::{Disk, Note, Options, Report};

use crate::arguments::ImportArguments;

/// Prints or writes the configuration, and says on stderr what is not in it as it was.
pub fn import(arguments: &ImportArguments) -> anyhow::Result<()> {
    let options = Options {
        config_id: match &arguments.config_id {
            Some(id) => id.clone(),
            None => host_name().context("cannot read this host's name")?,
        },
        interfaces: arguments.interfaces.clone(),
    };
    let file = &arguments.file;
    let import = match lb_keepalived::import(&Disk, file, &options) {
        Ok(import) => import,
        Err(report) => {
            tell(&report, arguments.json)?;
            bail!("{} is not translated: see its errors above", file.display());
        }
    };
    let name = file.display();
    let text = format!(
        "# {name}, translated by lbd import\n\n{}",
        lb_config::write(&import.settings)
    );
    match &arguments.output {
        None => anstream::print!("{text}"),
        Some(path) => {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    tell(&import.report, arguments.json)?;
    if !import.keepalived.is_empty() && !arguments.json {
        anstream::eprint!("\n{}", import.keepalived);
    }
    Ok(())
}

fn tell(report: &Report, json: bool) -> anyhow::Result<()> {
    let Report(notes) = report;
    match json {
        true => anstream::eprintln!("{}", serde_json::to_string(notes)?),
        false => notes
            .iter()
            .for_each(|note: &Note| anstream::eprintln!("{note}")),
    }
    Ok(())
}

/// As keepalived takes it: up to the first dot.
fn host_name() -> std::io::Result<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")?;
    Ok(name.trim().split('.').next().unwrap_or_default().to_owned())
}
