//! `cases/NAME/`: a keepalived.conf, the lbd.toml that it becomes, and what is said about it. `LB_BLESS=1` writes the
//! latter two anew; read them before you believe them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use lb_keepalived::{Disk, Options, import};

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let folders = fs::read_dir(root).expect("the cases");
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.expect("a case").path()).collect();
    folders.sort();
    folders
}

/// The configuration, or nothing, and the report with what goes to keepalived.
fn translated(case: &Path) -> (String, String) {
    let options = Options {
        config_id: "high".into(),
        interfaces: Vec::new(),
    };
    let shown = |report: lb_keepalived::Report| {
        let root = format!("{}/", case.display());
        let lines = report
            .0
            .iter()
            .map(|note| format!("{note}\n").replace(&root, ""));
        lines.collect::<String>()
    };
    match import(&Disk, &case.join("keepalived.conf"), &options) {
        Err(report) => (String::new(), shown(report)),
        Ok(import) => {
            let text = lb_config::write(&import.settings);
            let read = lb_config::parse("lbd.toml".into(), text.clone());
            let read = read.unwrap_or_else(|refusal| panic!("{}: {refusal}", case.display()));
            assert_eq!(read, import.settings, "{}", case.display());
            let snippet = match import.keepalived.is_empty() {
                true => String::new(),
                false => format!("\n{}", import.keepalived),
            };
            (text, shown(import.report) + &snippet)
        }
    }
}

#[test]
fn every_case_becomes_what_stands_beside_it() {
    let bless = env::var_os("LB_BLESS").is_some();
    for case in cases() {
        let (toml, report) = translated(&case);
        for (name, found) in [("lbd.toml", toml), ("report.txt", report)] {
            let path = case.join(name);
            if bless {
                fs::write(&path, found).expect("written");
                continue;
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(found, expected, "{}", path.display());
        }
    }
}

/// Debian's package keepalived brings examples; where it is installed, all of them can be read.
#[test]
fn the_examples_that_keepalived_brings_are_understood() {
    let Ok(samples) = fs::read_dir("/usr/share/doc/keepalived/samples") else {
        eprintln!("SKIPPED: keepalived's examples are not installed");
        return;
    };
    let mut read = 0;
    for sample in samples.map(|entry| entry.expect("a file").path()) {
        let name = sample
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !name.starts_with("keepalived.conf") {
            continue;
        }
        let import = import(&Disk, &sample, &Options::default());
        let import = import.unwrap_or_else(|report| panic!("{name}: {:#?}", report.0));
        for note in &import.report.0 {
            assert!(!note.reason.starts_with("unknown"), "{name}: {note}");
        }
        let text = lb_config::write(&import.settings);
        lb_config::parse(name, text).expect("a configuration");
        read += 1;
    }
    assert!(read > 20, "{read}");
}
