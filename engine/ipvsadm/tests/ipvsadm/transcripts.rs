//! Replays sessions recorded from ipvsadm 1.31 on Linux 6.1, command by command: output, errors and exit codes.
//!
//! `tests/cases/` holds some; the variable `LBD_GOLDEN` may name a folder with more in `ipvsadm/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lb_ipvsadm::{ServiceNames, Streams, run};
use serde_json::Value;

use crate::kernel::Kernel;

/// The port names that the recorded sessions use.
const SERVICES: &str =
    "domain 53/tcp\ndomain 53/udp\nhttp 80/tcp www\nhttps 443/tcp\nhttp-alt 8080/tcp webcache\n";

#[test]
fn recorded_sessions_of_this_crate_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    agree(&replay_folder(&folder));
}

#[test]
fn recorded_sessions_elsewhere_agree() {
    let Some(folder) = std::env::var_os("LBD_GOLDEN") else {
        println!("SKIPPED: LBD_GOLDEN names no folder with recorded sessions");
        return;
    };
    agree(&replay_folder(&PathBuf::from(folder).join("ipvsadm")));
}

fn agree(differing: &[String]) {
    assert!(
        differing.is_empty(),
        "{} differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
}

/// Replays all files of a folder, says how many commands agree in each, and returns what differs.
fn replay_folder(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no sessions in {}", folder.display());
    files.iter().flat_map(|file| replay_file(file)).collect()
}

fn replay_file(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("readable");
    let mut sessions: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let step: Value = serde_json::from_str(line).expect("JSON");
        if let Some(seq) = step["seq"].as_u64() {
            sessions.entry(seq).or_default().push(step);
        }
    }
    let (mut agreeing, mut differing) = (0, Vec::new());
    for (seq, steps) in sessions {
        // Counters need packets, and those an engine.
        if steps.iter().any(|step| step.get("inject").is_some()) {
            continue;
        }
        let mut kernel = Kernel::new();
        for step in steps {
            if let Some(links) = step["setup"]["links"].as_array() {
                kernel.links = strings(links);
            }
            if step.get("argv").is_none() {
                continue;
            }
            match replay_step(&mut kernel, &step) {
                None => agreeing += 1,
                Some(difference) => {
                    differing.push(format!("{} seq {seq}: {difference}", file.display()));
                }
            }
        }
    }
    let name = file.file_stem().unwrap_or_default().display();
    println!(
        "{name}: {agreeing} of {} commands agree",
        agreeing + differing.len()
    );
    differing
}

/// The difference, if there is one.
fn replay_step(kernel: &mut Kernel, step: &Value) -> Option<String> {
    let words = strings(step["argv"].as_array().expect("argv"));
    let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let code = run(
        &words,
        kernel,
        &ServiceNames::from_text(SERVICES),
        &mut Streams {
            input: &mut step["stdin"].as_str().unwrap_or_default().as_bytes(),
            output: &mut output,
            errors: &mut errors,
        },
    )
    .expect("memory takes everything");
    let text = |key: &str| step[key].as_str().expect("text").to_owned();
    let wanted = (
        comparable(&text("stdout"), step),
        text("stderr"),
        step["rc"].as_u64(),
    );
    let got = (
        comparable(&String::from_utf8_lossy(&output), step),
        String::from_utf8_lossy(&errors).into_owned(),
        Some(u64::from(code)),
    );
    (wanted != got).then(|| format!("{words:?}\n  want {wanted:?}\n  got  {got:?}"))
}

/// The output without what a recording cannot fix. Without sorting the services come in any order, but the servers of
/// each stay with it, in theirs.
fn comparable(output: &str, step: &Value) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in output.split('\n') {
        if line.starts_with("IP Virtual Server version") {
            continue;
        }
        match blocks.last_mut() {
            Some(block) if line.starts_with("  ->") => *block += &format!("\n{line}"),
            _ => blocks.push(line.to_owned()),
        }
    }
    if step["vary"] == "order" {
        blocks.sort();
    }
    blocks
}

fn strings(values: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    values.iter().map(text).collect()
}
