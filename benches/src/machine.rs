//! What is measured, and on what.

use std::path::PathBuf;
use std::{fs, thread};

use anyhow::{Context, ensure};

/// The program of this name that was built with this one.
///
/// # Errors
///
/// If it was not.
pub fn built_program(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    ensure!(
        program.exists(),
        "there is no {}: `./x bench` builds it, as does `cargo build --release --package {name}`",
        program.display()
    );
    Ok(program)
}

/// This machine, in a line.
///
/// # Errors
///
/// If `/proc` is not as expected.
pub fn machine() -> anyhow::Result<String> {
    let cpus = thread::available_parallelism()?.get();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
    let model = (cpuinfo.lines())
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("CPUs", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{cpus} x {model}, Linux {}", kernel.trim()))
}
